"""The type checker of the test run: beartype, which accepts an int for a float, as PEP 484 says.

pyproject.toml names `check` in jaxtyping's option, which takes the name of a function without arguments.
"""

from collections.abc import Callable

from beartype import BeartypeConf, beartype
from beartype.roar import BeartypeDecorHintPep673Exception

_checked = beartype(conf=BeartypeConf(is_pep484_tower=True))


def check(function: Callable) -> Callable:
    """Wrap a function to raise if an argument or result does not match its annotation.

    A function whose annotations use Self is returned unchanged: beartype needs the class, and jaxtyping passes single methods.
    """
    try:
        return _checked(function)
    except BeartypeDecorHintPep673Exception:
        return function
