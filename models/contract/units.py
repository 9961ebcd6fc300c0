"""Units of length and their factors to metres, the unit of everything inside."""

UNITS = {"m": 1.0, "cm": 0.01, "mm": 0.001}  # in metres


class UnknownUnit(ValueError):
    """A unit of length that does not exist; the message lists the known ones."""


def to_metres(unit: str) -> float:
    """Return the factor that converts lengths in `unit` to metres. Raises UnknownUnit."""
    if unit not in UNITS:
        raise UnknownUnit(f"expected a unit of length, one of {', '.join(UNITS)}, got {unit!r}")
    return UNITS[unit]
