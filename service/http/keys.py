"""API keys kept by name in a file: only hashes are stored, and a change takes effect without a restart.

`chiron keys` writes the file; the server reads it again whenever its modification time changes.
"""

import hashlib
import json
import os
import re
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Literal, get_args

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator

Scope = Literal["infer", "jobs", "models", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
PREFIX = "chiron_"  # lets secret scanners recognise a leaked key
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
RELOAD_S = 1.0  # between looks at the file's modification time
MAX_BYTES = 4 << 20  # of the file: about 10,000 keys


class BadKeys(ValueError):
    """A key file that cannot be read, or a change to it that is not possible."""


class Key(BaseModel):
    """One key: who holds it, what it opens, and until when. `digest` is the SHA-256 of the secret, in hex."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=NAME.pattern)
    digest: str = Field(pattern="[0-9a-f]{64}")
    scopes: tuple[Scope, ...] = Field(min_length=1)
    created: AwareDatetime
    expires: AwareDatetime | None = None
    revoked: AwareDatetime | None = None
    per_minute: int | None = Field(default=None, ge=1, description="requests a minute, instead of the server's limit")
    in_flight: int | None = Field(default=None, ge=1, description="requests in flight, instead of the server's limit")

    @field_validator("scopes")
    @classmethod
    def _in_order(cls, scopes: tuple[Scope, ...]) -> tuple[Scope, ...]:
        return tuple(scope for scope in SCOPES if scope in scopes)

    def state(self, now: datetime) -> Literal["valid", "expired", "revoked"]:
        """Return whether the key opens anything at `now`."""
        if self.revoked is not None:
            return "revoked"
        return "valid" if self.expires is None or now < self.expires else "expired"

    def opens(self, scope: Scope | None) -> bool:
        """Return whether the key's scopes include `scope`; `admin` includes every scope, and None needs none."""
        return scope is None or scope in self.scopes or "admin" in self.scopes


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = 1
    keys: tuple[Key, ...] = ()


def read_keys(path: Path) -> tuple[Key, ...]:
    """Return the keys of a file, or none if there is no file. Raises BadKeys."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise BadKeys(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise BadKeys(f"{path} has more than {MAX_BYTES} bytes")
    try:
        return _File.model_validate_json(content).keys
    except ValidationError as error:
        raise BadKeys(f"{path} is not a key file: {error.errors(include_input=False)[0]['msg']}") from None


def add_key(
    path: Path,
    name: str,
    scopes: tuple[Scope, ...],
    expires_in: timedelta | None = None,
    per_minute: int | None = None,
    in_flight: int | None = None,
) -> str:
    """Make a key and return its secret, which is kept nowhere. Raises BadKeys if a valid key has the name."""
    if not NAME.fullmatch(name):
        raise BadKeys(f"expected a name of lower-case letters, digits, dots, dashes and underscores, got {name[:80]!r}")
    secret, now = PREFIX + secrets.token_urlsafe(32), _now()
    key = Key(
        name=name,
        digest=digest(secret),
        scopes=scopes,
        created=now,
        expires=now + expires_in if expires_in else None,
        per_minute=per_minute,
        in_flight=in_flight,
    )
    with _changing(path) as keys:
        if any(known.name == name and known.state(now) == "valid" for known in keys):
            raise BadKeys(f"a valid key is named {name!r}; revoke it or choose another name")
        keys[:] = [*(known for known in keys if known.name != name), key]
    return secret


def revoke_key(path: Path, name: str) -> None:
    """Make the key of that name open nothing from now on. Raises BadKeys if there is none."""
    with _changing(path) as keys:
        if name not in {key.name for key in keys}:
            raise BadKeys(f"no key is named {name!r}; there are {', '.join(key.name for key in keys) or 'none'}")
        keys[:] = [
            key.model_copy(update={"revoked": key.revoked or _now()}) if key.name == name else key for key in keys
        ]


class KeyRing:
    """The keys that a server accepts: those of a file, read again when it changes, and `fixed` ones.

    A file that becomes unreadable while the server runs leaves the keys as they were and sets `fault`.
    """

    def __init__(self, path: Path, fixed: tuple[Key, ...] = ()) -> None:
        self._path, self._fixed = path, fixed
        self._stamp: tuple[int, int] | None = None
        self._looked = -RELOAD_S
        self.fault: str | None = None
        self._by_digest: dict[str, Key] = {key.digest: key for key in fixed}
        self._read()

    def find(self, secret: str) -> Key | None:
        """Return the key of this secret, valid or not. The look-up is by hash, so its time says nothing of the secret."""
        if time.monotonic() - self._looked > RELOAD_S:
            self._read()
        return self._by_digest.get(digest(secret))

    def __bool__(self) -> bool:
        """Return whether any key is known, valid or not: then requests need one."""
        if time.monotonic() - self._looked > RELOAD_S:
            self._read()
        return bool(self._by_digest)

    def _read(self) -> None:
        self._looked = time.monotonic()
        try:
            status = os.stat(self._path)
            stamp = (status.st_mtime_ns, status.st_ino)
        except FileNotFoundError:
            stamp = (0, 0)
        except OSError as error:
            self.fault = f"{self._path} cannot be read: {error.strerror}"
            return
        if stamp == self._stamp:
            return
        try:
            keys = read_keys(self._path)
        except BadKeys as error:
            self.fault = str(error)
            return
        self._stamp, self.fault = stamp, None
        self._by_digest = {key.digest: key for key in (*keys, *self._fixed)}


def digest(secret: str) -> str:
    """Return the SHA-256 of a secret in hex. A plain hash is enough, since a secret has 256 random bits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


@contextmanager
def _changing(path: Path) -> Iterator[list[Key]]:
    """Yield the file's keys to be changed in place, then replace the file; two changes at once do not lose one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        flock(lock, LOCK_EX)
        keys = list(read_keys(path))
        yield keys
        content = json.dumps(_File(keys=tuple(keys)).model_dump(mode="json", exclude_none=True), indent=1)
        descriptor, beside = tempfile.mkstemp(dir=path.parent, prefix=path.name)  # mode 0600
        with os.fdopen(descriptor, "w") as file:
            file.write(content + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
