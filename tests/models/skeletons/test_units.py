"""Tests of units of length."""

import pytest

from models.skeletons.units import UnknownUnit, to_metres


def test_the_error_for_an_unknown_unit_lists_the_known_units():
    assert [to_metres(unit) for unit in ("m", "cm", "mm")] == [1, 0.01, 0.001]
    with pytest.raises(UnknownUnit, match="one of m, cm, mm, in, ft, got 'inch'"):
        to_metres("inch")
