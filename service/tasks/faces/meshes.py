"""A found face for viewers and modellers: its landmarks as .ply or .obj, and the scan itself in the head's frame."""

import numpy as np
from jaxtyping import Float, Int

from models.contract.bundle import BundleMeta
from models.scans.head import in_head_frame
from models.skeletons.face import FACE68, FACE_REGIONS
from models.skeletons.units import to_metres
from service.tasks.faces.prepare import FoundFace

COLOURS = {
    "jaw": (153, 153, 153),
    "right_brow": (166, 86, 40),
    "left_brow": (255, 127, 0),
    "nose_bridge": (228, 26, 28),
    "nose_base": (247, 129, 191),
    "right_eye": (55, 126, 184),
    "left_eye": (77, 175, 74),
    "outer_lip": (152, 78, 163),
    "inner_lip": (255, 217, 47),
}


def ply(result: FoundFace, model: BundleMeta) -> bytes:
    """Return the landmarks as a text .ply for viewers such as MeshLab: coloured by region, with edges along the regions."""
    colours = {index: COLOURS[region] for region, indices in FACE_REGIONS.items() for index in indices}
    landmarks = zip(result.landmarks.tolist(), result.face.confidence.tolist(), result.seen.tolist(), strict=True)
    rows = [
        f"{x!r} {y!r} {z!r} {' '.join(map(str, colours[index]))} {index} {confidence:.6g} {confidence:.6g} {int(seen)}"
        for index, ((x, y, z), confidence, seen) in enumerate(landmarks)
    ]
    header = [
        "ply",
        "format ascii 1.0",
        f"comment {model.name} {model.version}",
        f"comment lengths in {result.scan.unit}",
        f"comment confidence: {result.meaning}",
        *(f"comment {index} {name}" for index, name in enumerate(FACE68.joints)),
        f"element vertex {len(rows)}",
        *(f"property double {axis}" for axis in "xyz"),
        *(f"property uchar {colour}" for colour in ("red", "green", "blue")),
        "property int index",
        "property float confidence",
        "property float quality",  # the same, by the name under which MeshLab reads it
        "property uchar seen",
        f"element edge {len(FACE68.bones)}",
        "property int vertex1",
        "property int vertex2",
        "end_header",
    ]
    return "\n".join([*header, *rows, *(f"{a} {b}" for a, b in FACE68.bones), ""]).encode()


def obj(result: FoundFace, model: BundleMeta) -> bytes:
    """Return the landmarks as an .obj for Blender and others: vertices in order, and edges in a group for each region."""
    landmarks = zip(
        FACE68.joints, result.landmarks.tolist(), result.face.confidence.tolist(), result.seen.tolist(), strict=True
    )
    lines = [
        f"# {model.name} {model.version}",
        f"# lengths in {result.scan.unit}",
        f"# confidence: {result.meaning}",
        "o landmarks",
    ]
    for index, (name, (x, y, z), confidence, seen) in enumerate(landmarks):
        note = "" if seen else ", no surface here"
        lines += [f"# {index} {name}, confidence {confidence:.6g}{note}", f"v {x!r} {y!r} {z!r}"]
    for region, indices in FACE_REGIONS.items():
        lines += [f"g {region}", *(f"l {a + 1} {b + 1}" for a, b in FACE68.bones if a in indices)]
    return "\n".join([*lines, ""]).encode()


def aligned(result: FoundFace, model: BundleMeta) -> bytes:
    """Return the scan in the head's frame and its own unit as a binary .ply of float32: points in their order, and triangles."""
    whole = result.scan.whole
    assert whole is not None, "the whole scan is kept where an aligned copy is wanted"
    points = in_head_frame(whole.points / to_metres(result.scan.unit), result.pose)
    return mesh_ply(points, whole.triangles, [
        f"{model.name} {model.version}",
        f"lengths in {result.scan.unit}, x to the person's left, y up, z forward, origin between the eyes",
    ])  # fmt: skip


def mesh_ply(
    points: Float[np.ndarray, "points 3"], triangles: Int[np.ndarray, "triangles 3"] | None, comments: list[str]
) -> bytes:
    """Return a mesh or a cloud as a little-endian .ply of float32."""
    header = ["ply", "format binary_little_endian 1.0", *(f"comment {comment}" for comment in comments)]
    header += [f"element vertex {len(points)}", *(f"property float {axis}" for axis in "xyz")]
    body = points.astype("<f4").tobytes()
    if triangles is not None:
        header += [f"element face {len(triangles)}", "property list uchar int vertex_indices"]
        faces = np.empty(len(triangles), [("count", "u1"), ("corners", "<i4", 3)])
        faces["count"], faces["corners"] = 3, triangles
        body += faces.tobytes()
    return "\n".join([*header, "end_header", ""]).encode() + body


def cloud_ply(points: Float[np.ndarray, "points 3"], comment: str) -> bytes:
    """Return points as a text .ply."""
    header = ["ply", "format ascii 1.0", f"comment {comment}", f"element vertex {len(points)}"]
    header += [*(f"property double {axis}" for axis in "xyz"), "end_header"]
    return "\n".join([*header, *(f"{x} {y} {z}" for x, y, z in points), ""]).encode()
