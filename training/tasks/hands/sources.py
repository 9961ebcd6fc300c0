"""The sources of hand motion by name."""

from training.tasks.hands import assembly101, npz
from training.tasks.hands.recordings import HandSource

SOURCES: tuple[HandSource, ...] = (*npz.SOURCES, assembly101.SOURCE)


def hand_source(name: str) -> HandSource:
    """Return the source of a name; for an unknown one, the .npz file of that name, whose licence is unknown."""
    return {source.name: source for source in SOURCES}.get(name) or npz.npz_source(name)
