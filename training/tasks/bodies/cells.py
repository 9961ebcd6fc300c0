"""The cells of published tables of lifting: the groups of test clips that have a figure each, whose mean is the table's average.

Human3.6M has a cell for each action, over both test subjects and all cameras (Pavllo et al. 2019, table 1). HumanEva-I has one for each
subject's walk, jog and box (their table 5); its other actions belong to no cell.
"""

from training.tasks.bodies.lift_clips import LiftClip

HUMAN36M = (
    "Directions", "Discussion", "Eating", "Greeting", "Phoning", "Photo", "Posing", "Purchases", "Sitting", "SittingDown", "Smoking",
    "Waiting", "WalkDog", "Walking", "WalkTogether",
)  # fmt: skip
EVA_ACTIONS = {"Walking": "Walk", "Jog": "Jog", "Box": "Box"}  # as in the files, as in the table
HUMANEVA = tuple(f"{action} {subject}" for action in EVA_ACTIONS.values() for subject in ("S1", "S2", "S3"))
CELLS = {"human36m": HUMAN36M, "humaneva": HUMANEVA}


def cell_of(clip: LiftClip) -> str | None:
    """Return the cell of a clip, or None if it has none; all clips of a source without published cells share the cell ""."""
    if clip.source == "human36m":
        return clip.label
    if clip.source == "humaneva":
        return f"{EVA_ACTIONS[clip.label]} {clip.subject}" if clip.label in EVA_ACTIONS else None
    return ""
