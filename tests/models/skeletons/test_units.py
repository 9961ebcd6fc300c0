"""Tests of units of length."""

import pytest

from models.skeletons.units import UnknownUnit, to_metres


def test_units_convert_to_metres_and_an_unknown_unit_is_refused_with_the_known_ones():
    assert [to_metres(unit) for unit in ("m", "cm", "mm")] == [1, 0.01, 0.001]
    with pytest.raises(UnknownUnit, match="one of m, cm, mm, in, ft, got 'inch'"):
        to_metres("inch")
