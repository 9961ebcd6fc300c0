"""Units of length and their factors to metres, the unit of everything inside."""

UNITS = {"m": 1.0, "cm": 0.01, "mm": 0.001, "in": 0.0254, "ft": 0.3048}  # in metres
METRIC = ("m", "cm", "mm")  # the units that are inferred: a scan in inches or feet must say so


class UnknownUnit(ValueError):
    """A unit of length that does not exist; the message lists the known ones."""


class Implausible(ValueError):
    """An input that no hand, face or person can have: wrong size, wrong proportions, or all points in one place.

    The message gives what was expected, what was found, and the units or the order that would fit.
    """


def to_metres(unit: str) -> float:
    """Return the factor that converts lengths in `unit` to metres. Raises UnknownUnit."""
    if unit not in UNITS:
        raise UnknownUnit(f"expected a unit of length, one of {', '.join(UNITS)}, got {unit!r}")
    return UNITS[unit]


def fitting_units(metres: float, unit: str, low_m: float, high_m: float) -> tuple[str, ...]:
    """Return the units in which a length would lie between `low_m` and `high_m` that is `metres` long if it is in `unit`."""
    assumed_m = metres / to_metres(unit)
    return tuple(name for name, factor in UNITS.items() if low_m <= assumed_m * factor <= high_m)


def describe_size(metres: float) -> str:
    """Return a length in a unit that suits it, such as "17.2 cm"."""
    for unit, factor in (("km", 1e3), ("m", 1.0), ("cm", 1e-2), ("mm", 1e-3)):
        if metres >= factor:
            return f"{metres / factor:.3g} {unit}"
    return f"{metres * 1e3:.2g} mm"


def check_size(what: str, metres: float, unit: str, low_m: float, high_m: float) -> None:
    """Raise Implausible unless `what` has a size from `low_m` to `high_m`; the message names the units that would fit."""
    if low_m <= metres <= high_m:
        return
    fitting = fitting_units(metres, unit, low_m, high_m)
    advice = f"it would fit in {' or '.join(fitting)}" if fitting else "it fits in no unit"
    raise Implausible(
        f"expected {what} of {describe_size(low_m)} to {describe_size(high_m)}, got {describe_size(metres)} read in {unit}; {advice}"
    )
