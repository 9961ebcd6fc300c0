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
