"""The sources of hand motion by name: those of this package and those that extensions add.

An installed package adds a HandSource by an entry point of the group `chiron.sources`; a file that CHIRON_EXTENSIONS lists, by a variable
SOURCE or SOURCES.
"""

from models.contract.extensions import registered
from training.tasks.hands import assembly101, npz
from training.tasks.hands.recordings import HandSource

OWN: tuple[HandSource, ...] = (*npz.SOURCES, assembly101.SOURCE)


class AmbiguousSource(ValueError):
    """Two sources of one name."""


def hand_sources() -> dict[str, HandSource]:
    """Return every source by name. Raises AmbiguousSource, and what loading an extension raises."""
    sources: dict[str, HandSource] = {}
    for source in (*OWN, *(source for source in registered("sources") if isinstance(source, HandSource))):
        if sources.setdefault(source.name, source) is not source:
            raise AmbiguousSource(f"two sources of hand motion have the name {source.name!r}; rename one of them")
    return sources


def hand_source(name: str) -> HandSource:
    """Return the source of a name; for an unknown one, the .npz file of that name, whose licence is unknown.

    Raises what `hand_sources` raises.
    """
    return hand_sources().get(name) or npz.npz_source(name)
