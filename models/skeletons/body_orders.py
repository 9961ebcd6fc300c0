"""Joint orders of bodies: tables of names, which detectors, trackers and data sets write in their own order.

All orders share one vocabulary of joints, so that conversion is selection by name. Left and right are the person's own. The joints of the
trunk and head, from below, are: `pelvis` (between the hips), `lower_spine`, `spine` (the middle of the back), `chest`, `thorax` (the base
of the neck, between the shoulders), `neck`, `head_base` (where the skull turns: Human3.6M's "neck/nose", MPII's "upper neck"), `head_top`
(the crown: Human3.6M's "head") and `head` (its middle). A foot has an `ankle`, a `heel`, a `foot` (its ball), a `toe` (its tip), and in
some orders a `big_toe` and a `small_toe`. Data sets differ by centimetres on where these are, and by less on the limbs.

Penn Action's published names call the viewer's left "left": its `left_shoulder` is `right_shoulder` here, and so are all its pairs.
"""

from itertools import pairwise

from models.skeletons.face import FACE68
from models.skeletons.hand import HANDS
from models.skeletons.skeleton import Skeleton, find_order

_OTHER = {"left": "right", "right": "left"}
_SIDES = {"left": ("left",), "right": ("right",), "both": ("left", "right"), "reversed": ("right", "left")}
_ARM, _LEG = "shoulder,elbow,wrist", "hip,knee,ankle"


def _listed(text: str) -> tuple[str, ...]:
    """Return the joints of a list: a name, `left:hip,knee` for one side, `both:eye,ear` for left and right of each in turn."""
    joints: list[str] = []
    for word in text.split():
        side, colon, parts = word.partition(":")
        joints += [f"{one}_{part}" for part in parts.split(",") for one in _SIDES[side]] if colon else [word]
    return tuple(joints)


def _image(joint: str) -> str:
    """Return the joint that is the mirror image of `joint`."""
    side, _, part = joint.partition("_")
    return f"{_OTHER[side]}_{part}" if side in _OTHER else joint


def _body(name: str, listed: str, *chains: str) -> Skeleton:
    """Build a body from its joints and chains of bones; a chain with *parts stands for one on the left and one on the right."""
    joints = _listed(listed)
    both = [chain.replace("*", f"{side}_").split() for side in _OTHER for chain in chains]
    bones = dict.fromkeys((joints.index(a), joints.index(b)) for chain in both for a, b in pairwise(chain))
    return Skeleton(name, joints, tuple(bones), tuple(joints.index(_image(joint)) for joint in joints))


_ARMS, _LEGS = "thorax *shoulder *elbow *wrist", "pelvis *hip *knee *ankle"
_ACROSS = ("left_shoulder right_shoulder", "left_hip right_hip")
_FLANKS = "*shoulder *hip *knee *ankle"
_FEET = ("*ankle *heel", "*ankle *big_toe *small_toe")
_COCO = f"nose both:eye,ear,{_ARM},{_LEG}"
_COCO_BONES = ("nose *eye *ear *shoulder *elbow *wrist", _FLANKS, *_ACROSS)
_HALPE = f"{_COCO} head_top neck pelvis both:big_toe,small_toe,heel"
_HALPE_BONES = ("nose *eye *ear", "pelvis neck nose head_top", "neck *shoulder *elbow *wrist", _LEGS, *_FEET)
_HAND = HANDS["mano"]  # OpenPose's order, which the detectors of whole bodies use
_FACE_HANDS = " ".join((*FACE68.joints, *(f"{side}_hand_{joint}" for side in _OTHER for joint in _HAND.joints)))
_FACE_HANDS_BONES = (
    *("nose nose_tip subnasale upper_lip upper_lip_inside", "lower_lip chin", "nasion *brow_5", "nasion *eye_inner"),
    *(f"{FACE68.joints[a]} {FACE68.joints[b]}" for a, b in FACE68.bones),
    "*wrist *hand_wrist",
    *(f"*hand_{_HAND.joints[a]} *hand_{_HAND.joints[b]}" for a, b in _HAND.bones),
)
_SMPL = (
    f"pelvis both:hip lower_spine both:knee spine both:ankle chest both:foot thorax both:clavicle head_base both:{_ARM}"
)
_SMPL_BONES = (
    *("pelvis lower_spine spine chest thorax head_base", "chest *clavicle *shoulder *elbow *wrist"),
    f"{_LEGS} *foot",
)
_TREE = HANDS["mano-smplx"].joints[1:16]  # MANO's own joints, without the wrist and the tips
_FINGERS = " ".join(f"{side}_hand_{joint}" for side in _OTHER for joint in _TREE)
_FINGER_BONES = tuple(
    f"*wrist {' '.join(f'*hand_{joint}' for joint in _TREE[start : start + 3])}" for start in range(0, 15, 3)
)

BODIES: dict[str, Skeleton] = {
    body.name: body
    for body in (
        _body(
            "h36m-17",
            f"pelvis right:{_LEG} left:{_LEG} spine thorax head_base head_top left:{_ARM} right:{_ARM}",
            *("pelvis spine thorax head_base head_top", _ARMS, _LEGS),
        ),
        _body("coco-17", _COCO, *_COCO_BONES),
        _body(  # OpenPose's neck is the midpoint of the shoulders
            "openpose-18",
            f"nose neck right:{_ARM} left:{_ARM} right:{_LEG} left:{_LEG} reversed:eye,ear",
            *("neck nose *eye *ear", "neck *shoulder *elbow *wrist", "neck *hip *knee *ankle"),
        ),
        _body(  # in each pair the person's right, which Penn Action calls left, comes first
            "penn-13", f"head reversed:{_ARM},{_LEG}", "head *shoulder *elbow *wrist", _FLANKS, *_ACROSS
        ),
        _body(
            "mpii-16",
            f"right:ankle,knee,hip left:{_LEG} pelvis thorax head_base head_top right:wrist,elbow,shoulder left:{_ARM}",
            *("pelvis thorax head_base head_top", _ARMS, _LEGS),
        ),
        _body(
            "humaneva-15",
            f"pelvis thorax left:{_ARM} right:{_ARM} left:{_LEG} right:{_LEG} head",
            *("pelvis thorax head", _ARMS, _LEGS),
        ),
        _body(  # Kinect v1
            "nw-ucla-20",
            f"pelvis spine thorax head left:{_ARM},hand right:{_ARM},hand left:{_LEG},foot right:{_LEG},foot",
            *("pelvis spine thorax head", f"{_ARMS} *hand", f"{_LEGS} *foot"),
        ),
        _body(
            "hdm05-25",
            "pelvis lower_spine spine thorax neck head_base head_top "
            f"left:{_ARM},hand,{_LEG},foot,toe right:{_ARM},hand,{_LEG},foot,toe",
            *("pelvis lower_spine spine thorax neck head_base head_top", f"{_ARMS} *hand", f"{_LEGS} *foot *toe"),
        ),
        _body(
            "cmu-24",
            "pelvis spine thorax neck head_base head_top "
            f"left:{_ARM},hand,{_LEG},foot,toe right:{_ARM},hand,{_LEG},foot,toe",
            *("pelvis spine thorax neck head_base head_top", f"{_ARMS} *hand", f"{_LEGS} *foot *toe"),
        ),
        _body(
            "reactidle-18",
            f"pelvis spine thorax head_base left:{_ARM},{_LEG},toe right:{_ARM},{_LEG},toe",
            *("pelvis spine thorax head_base", _ARMS, f"{_LEGS} *toe"),
        ),
        _body(
            "bandai-21",
            "pelvis lower_spine spine thorax head_base "
            f"left:clavicle,{_ARM} right:clavicle,{_ARM} left:{_LEG},toe right:{_LEG},toe",
            *("pelvis lower_spine spine thorax head_base", "spine *clavicle *shoulder *elbow *wrist", f"{_LEGS} *toe"),
        ),
        _body(
            "jhmdb-15",
            "neck belly face reversed:shoulder,hip,elbow,knee,wrist,ankle",
            *("belly neck face", "neck *shoulder *elbow *wrist", "belly *hip *knee *ankle"),
        ),
        _body(  # as recorded: some joints coincide, such as the base of the spine and the pelvis
            "h36m-32",
            f"pelvis right:{_LEG},foot,toe left:{_LEG},foot,toe spine_base spine thorax head_base head_top "
            f"left:clavicle,{_ARM},thumb_base,thumb,hand_base,hand_tip right:clavicle,{_ARM},thumb_base,thumb,hand_base,hand_tip",
            *("pelvis spine_base spine thorax head_base head_top", f"{_LEGS} *foot *toe", "*wrist *thumb_base *thumb"),
            "thorax *clavicle *shoulder *elbow *wrist *hand_base *hand_tip",
        ),
        _body(  # BODY_25: its neck and its pelvis, "MidHip", are midpoints
            "openpose-25",
            f"nose neck right:{_ARM} left:{_ARM} pelvis right:{_LEG} left:{_LEG} reversed:eye,ear "
            "left:big_toe,small_toe,heel right:big_toe,small_toe,heel",
            *("neck nose *eye *ear", "neck pelvis", "neck *shoulder *elbow *wrist", _LEGS, *_FEET),
        ),
        _body(  # BlazePose; its hands are knuckles
            "mediapipe-33",
            "nose left:eye_inner,eye,eye_outer right:eye_inner,eye,eye_outer "
            f"both:ear,mouth_corner,{_ARM},hand_pinky_mcp,hand_index_mcp,hand_thumb_ip,{_LEG},heel,toe",
            *(
                "nose *eye_inner *eye *eye_outer *ear *shoulder *elbow *wrist",
                "nose *mouth_corner",
                "*ankle *heel *toe",
            ),
            *("*wrist *hand_pinky_mcp *hand_index_mcp", "*wrist *hand_thumb_ip", _FLANKS, *_ACROSS),
        ),
        _body(
            "coco-wholebody-133",
            f"{_COCO} left:big_toe,small_toe,heel right:big_toe,small_toe,heel {_FACE_HANDS}",
            *(*_COCO_BONES, *_FEET, *_FACE_HANDS_BONES),
        ),
        _body("halpe-26", _HALPE, *_HALPE_BONES),
        _body("halpe-136", f"{_HALPE} {_FACE_HANDS}", *_HALPE_BONES, *_FACE_HANDS_BONES),
        _body(
            "crowdpose-14",
            f"both:{_ARM},{_LEG} head_top neck",
            *("neck head_top", "neck *shoulder *elbow *wrist", _FLANKS, "left_hip right_hip"),
        ),
        _body(
            "posetrack18-17",
            f"nose head_base head_top both:ear,{_ARM},{_LEG}",
            *(
                "head_base nose head_top",
                "nose *ear",
                "head_base *shoulder *elbow *wrist",
                _FLANKS,
                "left_hip right_hip",
            ),
        ),
        _body(  # Kinect v2
            "ntu-25",
            f"pelvis spine neck head left:{_ARM},hand right:{_ARM},hand left:{_LEG},foot right:{_LEG},foot thorax "
            "left:hand_tip,thumb right:hand_tip,thumb",
            *("pelvis spine thorax neck head", f"{_ARMS} *hand *hand_tip", "*wrist *thumb", f"{_LEGS} *foot"),
        ),
        _body(
            "azure-kinect-32",
            f"pelvis spine chest neck left:clavicle,{_ARM},hand,hand_tip,thumb right:clavicle,{_ARM},hand,hand_tip,thumb "
            f"left:{_LEG},foot right:{_LEG},foot head nose left:eye,ear right:eye,ear",
            *("pelvis spine chest neck head nose *eye *ear", f"{_LEGS} *foot", "*wrist *thumb"),
            "chest *clavicle *shoulder *elbow *wrist *hand *hand_tip",
        ),
        _body("smpl-22", _SMPL, *_SMPL_BONES),  # the body of SMPL-X and SMPL+H
        _body("smpl-24", f"{_SMPL} both:hand", *_SMPL_BONES, "*wrist *hand"),
        _body("smplh-52", f"{_SMPL} {_FINGERS}", *_SMPL_BONES, *_FINGER_BONES),
        _body(
            "smplx-55",
            f"{_SMPL} jaw left:eye right:eye {_FINGERS}",
            *(*_SMPL_BONES, *_FINGER_BONES, "head_base jaw", "head_base *eye"),
        ),
    )
}


ALIASES = {  # other names of orders; case and punctuation do not matter
    "coco": "coco-17",
    "yolo": "coco-17",
    "movenet": "coco-17",
    "vitpose": "coco-17",
    "yolo-pose": "coco-17",
    "yolov8-pose": "coco-17",
    "yolo11-pose": "coco-17",
    "openpose": "openpose-18",
    "openpose-coco": "openpose-18",
    "coco-18": "openpose-18",
    "body-25": "openpose-25",
    "openpose-body-25": "openpose-25",
    "mediapipe": "mediapipe-33",
    "mediapipe-pose": "mediapipe-33",
    "blazepose": "mediapipe-33",
    "wholebody": "coco-wholebody-133",
    "wholebody-133": "coco-wholebody-133",
    "coco-wholebody": "coco-wholebody-133",
    "halpe": "halpe-26",
    "body-26": "halpe-26",
    "halpe-fullbody": "halpe-136",
    "crowdpose": "crowdpose-14",
    "posetrack": "posetrack18-17",
    "posetrack-17": "posetrack18-17",
    "posetrack-18": "posetrack18-17",
    "posetrack-2018": "posetrack18-17",
    "human36m": "h36m-17",
    "human36m-17": "h36m-17",
    "h36m": "h36m-17",
    "human36m-32": "h36m-32",
    "mpii": "mpii-16",
    "humaneva": "humaneva-15",
    "kinect": "nw-ucla-20",
    "kinect-20": "nw-ucla-20",
    "kinect-v1": "nw-ucla-20",
    "kinect-v2": "ntu-25",
    "kinect-25": "ntu-25",
    "ntu": "ntu-25",
    "ntu-rgbd": "ntu-25",
    "ntu-rgb-d": "ntu-25",
    "azure-kinect": "azure-kinect-32",
    "k4abt": "azure-kinect-32",
    "smpl": "smpl-24",
    "smplx": "smpl-22",
    "smplx-22": "smpl-22",
    "smplh": "smpl-22",
    "smplh-22": "smpl-22",
    "penn": "penn-13",
    "jhmdb": "jhmdb-15",
}


def get_body_order(name: str) -> Skeleton:
    """Return the joint order called `name`, or one of its ALIASES; case and punctuation do not matter. Raises UnknownOrder."""
    return find_order(name, BODIES, ALIASES)
