"""Tests of skeletons of one's own: what a file declares, and what is refused with what was wanted and what came."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from models.skeletons.hand import ASSEMBLY101, pair_of
from models.skeletons.own import MAX_BYTES, MOST_JOINTS, MalformedSkeleton, OwnSkeleton, read_skeleton

TAIL = {"name": "tail", "joints": ["base", "middle", "tip"], "bones": [["tip", "middle"], ["base", "middle"]]}
PUPPET = {
    "name": "puppet",
    "joints": ["left_arm", "head", "right_arm", "chest"],
    "bones": [["head", "chest"], ["chest", "left_arm"], ["right_arm", "chest"]],
    "root": "head",
    "mirror": [["right_arm", "left_arm"]],
}


def read(folder: Path, text: str) -> OwnSkeleton:
    (folder / "skeleton.json").write_text(text)
    return read_skeleton(folder / "skeleton.json")


def test_bones_go_outwards_from_the_root_whatever_their_order_in_the_file(tmp_path: Path):
    layout = read(tmp_path, json.dumps(TAIL)).layout
    assert (layout.name, layout.joints) == ("tail", ("base", "middle", "tip"))
    assert layout.bones == ((0, 1), (1, 2))
    assert read(tmp_path, json.dumps({**TAIL, "root": "tip"})).layout.bones == ((2, 1), (1, 0))


def test_without_mirror_pairs_a_joint_is_its_own_image_in_the_other_body():
    layout = OwnSkeleton.model_validate(TAIL).layout
    assert layout.mirror == layout.kinds == (0, 1, 2)
    assert pair_of(layout).mirror == (3, 4, 5, 0, 1, 2)
    assert ASSEMBLY101.kinds == tuple(range(21))


def test_mirror_pairs_exchange_joints_within_a_body():
    layout = OwnSkeleton.model_validate(PUPPET).layout
    assert layout.mirror == (2, 1, 0, 3)
    assert layout.kinds == (0, 1, 0, 2), "expected one kind for a joint and its mirror image"
    assert pair_of(layout).mirror == (6, 5, 4, 7, 2, 1, 0, 3)


def test_a_skeleton_survives_json():
    own = OwnSkeleton.model_validate(PUPPET)
    assert OwnSkeleton.model_validate_json(own.model_dump_json(exclude_none=True)) == own


def chain(count: int) -> dict[str, Any]:
    names = [f"j{i}" for i in range(count)]
    return {"name": "chain", "joints": names, "bones": list(pairwise(names))}


@pytest.mark.parametrize("count", [2, MOST_JOINTS])
def test_two_to_128_joints_are_a_skeleton(count: int):
    assert len(OwnSkeleton.model_validate(chain(count)).layout.bones) == count - 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (chain(1), "joints: expected at least 2 items, got 1"),
        (chain(129), "joints: expected at most 128 items, got 129"),
        ({**TAIL, "name": "Tail!"}, "name: expected text of the form .*, got 'Tail!'"),
        ({**TAIL, "name": "media-pipe"}, "expected a name of its own, got 'media-pipe', which is the joint order mediapipe"),
        ({**TAIL, "name": "coco-17"}, "got 'coco-17', which is the joint order coco-17"),
        ({**TAIL, "joints": ["base", "middle", "Base"]}, "names differ in letters or digits, got 'Base' beside 'base'"),
        ({**TAIL, "joints": ["base", "middle", "base"]}, "names differ in letters or digits, got 'base' beside 'base'"),
        ({**TAIL, "joints": ["base", "middle", "--"]}, "names differ in letters or digits, got '--'"),
        ({**TAIL, "joints": ["joint1", "middle", "tip"]}, "named by a number to count from 0, got 'joint1' at place 0"),
        ({**TAIL, "bones": [["base", "middle"], ["base", "toe"]]}, "expected the joints base, middle, tip, got 'toe'"),
        ({**TAIL, "root": "toe"}, "expected the joints base, middle, tip, got 'toe'"),
        ({**TAIL, "bones": [["base", "middle"]]}, "expected 2 bones, a tree over 3 joints, got 1"),
        ({**TAIL, "bones": [["base", "middle"], ["middle", "base"]]}, "join every joint to base, got none to tip and a loop"),
        ({**TAIL, "bones": [["base", "middle"], ["tip", "tip"]]}, "join every joint to base, got none to tip and a loop"),
        ({**PUPPET, "mirror": [["left_arm", "right_arm"], ["left_arm", "chest"]]}, "different joints, got 'left_arm' twice"),
        ({**PUPPET, "mirror": [["left_arm", "left_arm"]]}, "different joints, got 'left_arm' twice"),
        ({**PUPPET, "root": "left_arm"}, "expected a root in no mirror pair, got 'left_arm', paired with 'right_arm'"),
        ({**PUPPET, "mirror": [["left_arm", "chest"]]}, "expected a bone from head to left_arm, the mirror image of head to chest"),
        ({**TAIL, "weight": 3}, "weight: there is no such field"),
        ('{"name": "tail", "joints": [NaN, "tip"], "bones": []}', r"joints\.0: expected a valid string, got nan"),
        ('{"name": "tail"', "Invalid JSON"),
        (" " * (MAX_BYTES + 1), "expected at most 1,048,576 bytes, got 1,048,577"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused(content: Any, message: str, tmp_path: Path):
    text = content if isinstance(content, str) else json.dumps(content)
    with pytest.raises(MalformedSkeleton, match=f"skeleton.json: .*{message}"):
        read(tmp_path, text)
