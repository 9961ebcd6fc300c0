"""Licences of training data: what each data set allows and whom it credits, which a bundle carries with its weights."""

from dataclasses import dataclass

from models.contract.bundle import TrainingSource


class UnknownLicence(KeyError):
    """A data set without a known licence: weights trained on it get no bundle."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True)
class Source:
    """A data set: its name, its licence (None if it is not known) and the attribution that the licence asks for."""

    name: str
    licence: str | None
    attribution: str

    def trained_on(self, recordings: int) -> TrainingSource:
        """Return the entry for a bundle. Raises UnknownLicence."""
        if self.licence is None:
            raise UnknownLicence(
                f"the licence of {self.name} is not known, so weights trained on it get no bundle; write it into the data set's SOURCE"
            )
        return TrainingSource(name=self.name, licence=self.licence, attribution=self.attribution, recordings=recordings)


BODIES = (
    Source(
        "hdm05_11",
        "CC BY-SA 3.0",
        "The data used in this project was obtained from HDM05: Müller et al., Mocap Database HDM05, CG-2007-2, Univ. Bonn, 2007",
    ),
    Source(
        "cmu_9act",
        "free for all uses, no resale",
        "The data used in this project was obtained from mocap.cs.cmu.edu. The database was created with funding from NSF EIA-0196217",
    ),
    Source("reactidle", "MIT", "Atxa Landa et al., ReActIdle, 2025"),
)


def source_of(name: str, recordings: int) -> TrainingSource:
    """Return a bundle's entry for a source of bodies. Raises UnknownLicence."""
    known = {source.name: source for source in BODIES}
    return known.get(name, Source(name, None, "")).trained_on(recordings)
