"""Tests of the groups of actions over labels of recordings."""

import pytest

from training.tasks.hands.actions import GROUPS, groups_of


@pytest.mark.parametrize(
    ("label", "groups"),
    [
        ("len106_put_down_screw", ["Put-down"]),
        ("len105_rotate_partial_toy", ["Rotate"]),
        ("pick up fallen chair and place on ground", ["Pick-up", "Put-down"]),
        ("lifting and tilting table", ["Rotate", "Pick-up"]),
        ("Inspect toy", ["Inspect"]),
        ("wineglass", []),
        ("overturned", []),  # whole words alone
    ],
)
def test_a_label_belongs_to_the_groups_whose_words_it_has(label: str, groups: list[str]):
    assert groups_of(label) == [*groups, "Global"]


def test_no_word_belongs_to_two_groups():
    words = [word for group in GROUPS.values() for word in group]
    assert len(words) == len(set(words))
