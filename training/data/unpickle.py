"""An unpickler for pickles from strangers: it runs nothing, and its memory and time are bounded by the size of the file.

Only NumPy's array, dtype and scalar can be named. These names get stand-ins, since NumPy's own constructors trust their arguments. Results
consist of lists, tuples, dicts, str, bytes, numbers, None and arrays.

Every opcode pays for what it allocates, out of an allowance of 4 times the file and 48 MB: no memo index, repeated reference or repeated
array makes more of a file than it is. Opcodes that such values do not need are refused. Keys of dicts are plain, since the hash of nested
tuples that share their parts takes exponential time.
"""

import io
import math
import pickle
import struct
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

FACTOR, ALLOWANCE = 4, 48 * 2**20
SLOT, ENTRY, ARRAY = (
    9,
    100,
    200,
)  # bytes of an item of a list, of an entry of a dict or the memo while it grows, of an empty array
MAX_KEY, MAX_DIMS, MAX_ARGUMENTS = 8, 64, 8
CODE = 16  # characters of a dtype such as "<f8"
PUSHING = (
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING", "SHORT_BINSTRING",
    "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "EMPTY_LIST", "EMPTY_DICT",
    "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "LIST",
)  # fmt: skip


class UntrustedFile(ValueError):
    """A file refused: too large, malformed, or with a request to run something."""


def unpickle(file: io.BufferedIOBase, size: int, name: str) -> Any:
    """Return the value pickled in the `size` bytes that are left of `file`. Raises UntrustedFile with the `name` in its message."""
    try:
        return _Unpickler(_Bounded(file, size), name).value()
    except UntrustedFile:
        raise
    except Exception as error:  # a hostile pickle can make the unpickler raise anything
        raise UntrustedFile(f"{name} is no readable pickle: {type(error).__name__}: {str(error)[:200]}") from error


class _Bounded:
    """A file that refuses to read beyond its end, so that an announced size allocates nothing."""

    def __init__(self, file: io.BufferedIOBase, size: int) -> None:
        self._file, self.size, self._left = file, size, size

    def read(self, count: int) -> bytes:
        if count > self._left:
            raise EOFError(f"expected {count} more bytes, got {self._left}")
        self._left -= count
        return self._file.read(count)

    def readline(self) -> bytes:
        line = self._file.readline(self._left)
        self._left -= len(line)
        return line


class _Dtype:
    """A stand-in for numpy.dtype: a code such as "f8", and a byte order from the state."""

    def __init__(self, code: Any, *_: object) -> None:
        if not (isinstance(code, str) and len(code) <= CODE):
            raise UntrustedFile(f"expected the code of a dtype, at most {CODE} characters, got a {type(code).__name__}")
        self.dtype = np.dtype(code)
        if self.dtype.kind not in "biufSUO" or self.dtype.fields or self.dtype.subdtype:
            raise UntrustedFile(f"expected arrays of numbers, text or objects in a pickle, got {code!r}")


class _Empty:
    """A stand-in for a new numpy.ndarray until its state arrives; `places` are its indices in the memo."""

    def __init__(self, *_: object) -> None:
        self.places: list[int] = []


class _Unpickler(pickle._Unpickler):  # pyright: ignore[reportAttributeAccessIssue] - the twin in Python of the one in C
    """Python's own unpickler, opcode by opcode, with fewer opcodes and an account of what they allocate."""

    stack: list[Any]
    memo: dict[int, Any]
    read: Callable[[int], bytes]
    pop_mark: Callable[[], list[Any]]
    load: Callable[[], Any]  # pyright: ignore[reportIncompatibleMethodOverride] - its stub returns nothing

    def __init__(self, file: _Bounded, name: str) -> None:
        super().__init__(file)
        self.name, self.left = name, FACTOR * file.size + ALLOWANCE
        numpy = {
            "ndarray": None,  # only ever an argument
            "dtype": _Dtype,
            "_reconstruct": _Empty,
            "scalar": lambda dtype, raw: self.array(raw, dtype, (), "C")[()],
            "_frombuffer": self.array,
        }
        parts = (f"numpy.{core}.{part}" for core in ("core", "_core") for part in ("multiarray", "numeric"))
        self.known = {(module, own): value for module in ("numpy", *parts) for own, value in numpy.items()}
        # bytes in protocols before 3
        self.known["_codecs", "encode"] = lambda text, encoding: text.encode("latin1")
        self.known["__builtin__", "bytes"] = lambda: b""

    def value(self) -> Any:
        """Return the pickled value. Raises UntrustedFile, and whatever a malformed pickle makes Python raise."""
        result = self.load()
        self.check(result, set(), set())
        return result

    def spend(self, count: int) -> None:
        """Take bytes from the allowance. Raises UntrustedFile when it is used up."""
        self.left -= count
        if self.left < 0:
            raise UntrustedFile(f"{self.name} expands to far more than its size, which a pickle of data does not")

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in of a name. Raises UntrustedFile for any other name."""
        if (module, name) not in self.known:
            requested = f"{module}.{name}"[:80]
            raise UntrustedFile(
                f"{self.name} asks for {requested}; only arrays and plain values are read from a pickle"
            )
        return self.known[module, name]

    def array(self, raw: Any, dtype: _Dtype, shape: Any, order: str) -> np.ndarray:
        """Return an array of these bytes, or of this list of objects."""
        if not (isinstance(shape, tuple) and len(shape) <= MAX_DIMS and all(_is_count(length) for length in shape)):
            raise UntrustedFile(f"{self.name}: expected the shape of an array, at most {MAX_DIMS} whole numbers")
        if dtype.dtype.kind != "O":
            if not isinstance(raw, bytes | bytearray):
                raise UntrustedFile(f"{self.name}: expected the bytes of an array, got a {type(raw).__name__}")
            self.spend(len(raw) + ARRAY)
            flat = np.frombuffer(raw, dtype=dtype.dtype).copy()
            require_characters(flat)
            return flat.reshape(shape, order="F" if order == "F" else "C")
        if not isinstance(raw, list) or len(raw) != math.prod(shape):
            raise UntrustedFile(f"{self.name}: expected as many objects as fit the shape of an array of objects")
        self.spend(SLOT * len(raw) + ARRAY)
        flat = np.empty(len(raw), dtype=object)
        for place, item in enumerate(raw):  # one by one: NumPy would take a list of arrays apart
            flat[place] = item
        return flat.reshape(shape)  # objects are listed in C order, whatever the order of the array

    def check(self, value: Any, around: set[int], checked: set[int]) -> None:
        """Raise UntrustedFile for a stand-in, for a type that is no data, and for a container that holds itself."""
        if isinstance(value, str | bytes | int | float | complex | np.generic | None):
            return
        if isinstance(value, np.ndarray):
            items = value.reshape(-1) if value.dtype == object else ()
        elif type(value) in (list, tuple, dict):
            items = value.values() if isinstance(value, dict) else value
        else:
            raise UntrustedFile(f"{self.name}: expected plain values and arrays, got a {type(value).__name__}")
        if id(value) in around:
            raise UntrustedFile(f"{self.name}: a {type(value).__name__} contains itself")
        if id(value) not in checked:
            self.spend(2 * ENTRY)
            around.add(id(value))
            for item in items:
                self.check(item, around, checked)
            around.remove(id(value))
            checked.add(id(value))


Handler = Callable[[Any], None]  # the effect of an opcode on an unpickler


def _pushing(handler: Handler) -> Handler:
    """Return a handler that pays for the value it pushes."""

    def handle(self: _Unpickler) -> None:
        handler(self)
        self.spend(sys.getsizeof(self.stack[-1]) + SLOT)

    return handle


def _costing(count: int, handler: Handler) -> Handler:
    """Return a handler that pays a fixed number of bytes beforehand."""

    def handle(self: _Unpickler) -> None:
        self.spend(count)
        handler(self)

    return handle


def _storing(handler: Handler) -> Handler:
    """Return a handler that stores the top of the stack in the memo and notes where an empty array is stored."""

    def handle(self: _Unpickler) -> None:
        self.spend(ENTRY)
        handler(self)
        if isinstance(self.stack[-1], _Empty):
            self.stack[-1].places.append(next(reversed(self.memo)))

    return handle


def _bytearray(self: _Unpickler) -> None:
    (size,) = struct.unpack("<Q", self.read(8))
    self.stack.append(bytearray(self.read(size)))


def _append(self: _Unpickler, items: list[Any]) -> None:
    target = self.stack[-1]
    if type(target) is not list:
        raise UntrustedFile(f"{self.name}: expected a list to append to, got a {type(target).__name__}")
    self.spend(SLOT * len(items))
    target.extend(items)


def _set_items(self: _Unpickler, items: list[Any]) -> None:
    target = self.stack[-1]
    if type(target) is not dict or len(items) % 2:
        raise UntrustedFile(f"{self.name}: expected a dict, keys and values, got a {type(target).__name__}")
    self.spend(ENTRY * len(items) // 2)
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not (_is_plain(key) or (type(key) is tuple and len(key) <= MAX_KEY and all(map(_is_plain, key)))):
            raise UntrustedFile(
                f"{self.name}: expected text, bytes or a whole number as a key, got a {type(key).__name__}"
            )
        target[key] = value


def _dict(self: _Unpickler) -> None:
    items = self.pop_mark()
    self.stack.append({})
    _set_items(self, items)


def _reduce(self: _Unpickler) -> None:
    arguments, function = self.stack.pop(), self.stack.pop()
    if not (callable(function) and type(arguments) is tuple and len(arguments) <= MAX_ARGUMENTS):
        raise UntrustedFile(f"{self.name}: expected a call of NumPy's names with at most {MAX_ARGUMENTS} arguments")
    self.stack.append(function(*arguments))  # only `known` has functions


def _build(self: _Unpickler) -> None:
    state, target = self.stack.pop(), self.stack[-1]
    if isinstance(target, _Dtype):
        target.dtype = target.dtype.newbyteorder(state[1])
    elif isinstance(target, _Empty):
        _, shape, dtype, fortran, raw = state
        array = self.array(raw, dtype, shape, "F" if fortran else "C")
        self.stack[-1] = array
        self.memo |= dict.fromkeys(target.places, array)
    else:
        raise UntrustedFile(
            f"{self.name}: expected a state of an array or a dtype, got one of a {type(target).__name__}"
        )


def _refuse(self: _Unpickler) -> None:
    raise UntrustedFile(f"{self.name} has an opcode that no pickle of plain values and arrays needs")


def _python(name: str) -> Handler:
    """Return what Python's own unpickler does for an opcode."""
    return pickle._Unpickler.dispatch[getattr(pickle, name)[0]]  # pyright: ignore[reportAttributeAccessIssue]


def _table() -> dict[int, Handler]:
    """Return the handler of every opcode; those that are not listed are refused."""
    handlers: dict[str, Handler] = {
        **{name: _pushing(_python(name)) for name in PUSHING},
        **{name: _costing(SLOT, _python(name)) for name in ("GET", "BINGET", "LONG_BINGET", "DUP")},
        **{
            name: _python(name) for name in ("NONE", "NEWTRUE", "NEWFALSE", "POP", "POP_MARK", "PROTO", "FRAME", "STOP")
        },
        **{name: _storing(_python(name)) for name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE")},
        "GLOBAL": _costing(ENTRY, _python("GLOBAL")),
        "STACK_GLOBAL": _costing(ENTRY, _python("STACK_GLOBAL")),
        "MARK": _costing(2 * sys.getsizeof([]), _python("MARK")),
        "BYTEARRAY8": _pushing(_bytearray),
        "REDUCE": _pushing(_reduce),
        "APPEND": lambda self: _append(self, [self.stack.pop()]),
        "APPENDS": lambda self: _append(self, self.pop_mark()),
        "SETITEM": lambda self: _set_items(self, [self.stack.pop(), self.stack.pop()][::-1]),
        "SETITEMS": lambda self: _set_items(self, self.pop_mark()),
        "DICT": _dict,
        "BUILD": _build,
    }
    return dict.fromkeys(range(256), _refuse) | {getattr(pickle, name)[0]: own for name, own in handlers.items()}


def require_characters(array: np.ndarray) -> None:
    """Raise ValueError for an array of text with a number that is no character, which Python cannot make a str of."""
    codes = f"{array.dtype.byteorder if array.dtype.kind == 'U' else ''}u4"
    if array.dtype.kind == "U" and array.size and array.view(codes).max() > sys.maxunicode:
        raise ValueError("expected characters in an array of text, got larger numbers")


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**62


def _is_plain(key: Any) -> bool:
    """Return whether the hash of a key takes time in proportion to the key, and keys with one hash cannot be made at will."""
    return key is None or isinstance(key, str | bytes) or (isinstance(key, int | np.integer) and abs(int(key)) < 2**60)


_Unpickler.dispatch = _table()
