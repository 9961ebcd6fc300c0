"""What checks shapes and types while the tests run: beartype, with an int taken where a float is asked for, as PEP 484 has it.

It is here because jaxtyping's option, which names it in pyproject.toml, takes a function and no arguments for it.
"""

from collections.abc import Callable

from beartype import BeartypeConf, beartype
from beartype.roar import BeartypeDecorHintPep673Exception

_checked = beartype(conf=BeartypeConf(is_pep484_tower=True))


def check(function: Callable) -> Callable:
    """The function, raising where what it takes or gives is not what its annotations say.

    One that speaks of Self stays as it is: beartype must see the class for that, and jaxtyping shows it the methods one by one.
    """
    try:
        return _checked(function)
    except BeartypeDecorHintPep673Exception:
        return function
