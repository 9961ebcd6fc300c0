"""A PostgreSQL server in a temporary folder, which listens on a socket there."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

START_S = 300.0


def postgres_binaries() -> Path | None:
    """Return the folder of a PostgreSQL server's binaries, or None."""
    candidates = [Path(path).resolve().parent for name in ("initdb",) if (path := shutil.which(name))]
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in candidates if (folder / "postgres").exists()), None)


class Postgres:
    """A temporary PostgreSQL server that can be frozen, like by `docker pause`."""

    def __init__(self, folder: Path, binaries: Path) -> None:
        options: dict = {}
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            user = pwd.getpwnam("postgres")
            os.chown(folder, user.pw_uid, user.pw_gid)
            options = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        data = folder / "data"
        initialise = [binaries / "initdb", "-D", data, "-U", "chiron", "--auth", "trust", "-N"]
        subprocess.run(initialise, check=True, capture_output=True, cwd=folder, **options)
        server = [binaries / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"]
        self.process = subprocess.Popen(
            server, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, cwd=folder, **options
        )
        self.folder, self.binaries = folder, binaries
        self.url = f"postgresql+psycopg://chiron@/postgres?host={folder}"

    def signal(self, number: int) -> None:
        """Send a signal to the server and all its backends."""
        for pid in self._pids():
            os.kill(pid, number)

    def _pids(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [self.process.pid, *map(int, children)]

    def close(self) -> None:
        """Stop the server."""
        self.signal(signal.SIGCONT)
        self.process.send_signal(signal.SIGINT)
        self.process.wait(START_S)


def answers(folder: Path) -> bool:
    """Return whether the server takes connections: its socket is there a moment before."""
    try:
        psycopg.connect(host=str(folder), user="chiron", dbname="postgres", connect_timeout=10).close()
    except psycopg.OperationalError:
        return False
    return True


@contextmanager
def postgres_server() -> Iterator[Postgres]:
    """Run a server in a temporary folder while the block runs; raise FileNotFoundError if none is installed."""
    if (binaries := postgres_binaries()) is None:
        raise FileNotFoundError("expected the binaries of a PostgreSQL server, found none")
    with tempfile.TemporaryDirectory(prefix="chiron-pg-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        server = Postgres(folder, binaries)
        try:
            end = time.monotonic() + START_S
            while not answers(folder):
                if time.monotonic() > end:
                    raise TimeoutError(f"expected an answer of PostgreSQL within {START_S:g} s")
                time.sleep(0.05)
            yield server
        finally:
            server.close()
