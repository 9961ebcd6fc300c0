"""Groups of actions over the labels of hand recordings: those that Assembly101's published forecasts are reported for.

A label belongs to a group if it contains one of the group's words or phrases as whole words; case, "_" and "-" do not count. Labels of
assembly101_sample are its segments' fine-grained actions ("put_down_screw"). Labels of humoto are descriptions in free text. "Global" is
every window. The words are a choice of this project, because the published table gives none.
"""

import re
from collections.abc import Iterable, Mapping

GROUPS: Mapping[str, tuple[str, ...]] = {
    "Inspect": ("inspect", "inspecting", "check", "checking", "examine", "examining", "look", "looking"),
    "Rotate": ("rotate", "rotating", "turn", "turning", "tilt", "tilting", "flip", "flipping", "roll", "rolling"),
    "Pick-up": ("pick up", "picking up", "lift", "lifting", "grasp", "grasping"),
    "Put-down": ("put down", "putting down", "put back", "putting back", "place", "placing", "position"),
}
GLOBAL = "Global"


def groups_of(label: str) -> list[str]:
    """Return the groups that a label belongs to, in order; "Global" is last and always there."""
    return [group for group, words in GROUPS.items() if has_words(label, words)] + [GLOBAL]


def has_words(label: str, words: Iterable[str]) -> bool:
    """Return whether a label contains one of these words or phrases as whole words ("unscrew" does not contain "screw")."""
    text = _plain(label)
    return any(_plain(word) in text for word in words)


def _plain(text: str) -> str:
    return f" {re.sub(r'[^a-z]+', ' ', text.lower()).strip()} "
