"""Hosts on one machine: network namespaces on a bridge, whose processes can be killed and whose cables can be pulled.

Needs root and iproute2.
"""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

PREFIX, BRIDGE = "chiron", "chiron-br"
NETWORK = "10.77.0"


class Host:
    """A namespace with a host name and one address, and the processes that run in it."""

    def __init__(self, name: str, number: int, folder: Path) -> None:
        self.name, self.address, self.folder = name, f"{NETWORK}.{number}", folder
        self._namespace, self._cable = f"{PREFIX}-{name}", f"{PREFIX}-v{number}"
        self.processes: list[subprocess.Popen[bytes]] = []
        folder.mkdir(parents=True, exist_ok=True)
        _ip("netns", "add", self._namespace)
        _ip("link", "add", self._cable, "type", "veth", "peer", "name", "eth0", "netns", self._namespace)
        _ip("link", "set", self._cable, "master", BRIDGE, "up")
        _ip("-n", self._namespace, "addr", "add", f"{self.address}/24", "dev", "eth0")
        for device in ("eth0", "lo"):
            _ip("-n", self._namespace, "link", "set", device, "up")

    def start(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None, user: str | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a command on this host, as `user` if given, with its output in the host's folder."""
        named = ["unshare", "--uts", "sh", "-c", f'hostname {self.name}; exec "$@"', "sh"]
        identity = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
        with (self.folder / f"{Path(command[0]).name}-{len(self.processes)}.log").open("w") as log:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self._namespace, *named, *identity, *command],
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self.folder,
            )
        self.processes.append(process)
        return process

    def cut(self) -> None:
        """Pull the cable: packets are lost, and connections are not closed."""
        _ip("link", "set", self._cable, "down")

    def join(self) -> None:
        """Put the cable back."""
        _ip("link", "set", self._cable, "up")

    def kill(self) -> None:
        """Switch the host off: pull the cable, so that nothing says goodbye, and kill every process."""
        self.cut()
        self._signal(signal.SIGKILL)

    def stop(self) -> None:
        """Ask every process to end, and kill those that do not."""
        self._signal(signal.SIGTERM, patience_s=20.0)
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals, patience_s: float = 10.0) -> None:
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, number)
        for process in self.processes:
            try:
                process.wait(patience_s)
            except subprocess.TimeoutExpired:
                continue
        self.processes = [process for process in self.processes if process.poll() is None]

    def close(self) -> None:
        """Stop everything and remove the namespace."""
        self.stop()
        _ip("netns", "del", self._namespace, check=False)
        _ip("link", "del", self._cable, check=False)


@contextmanager
def network() -> Iterator[None]:
    """Run a bridge that this machine's own processes reach as well; remove it at the end. Raises RuntimeError if that is not permitted."""
    try:
        _ip("link", "add", BRIDGE, "type", "bridge")
    except subprocess.CalledProcessError as error:
        raise RuntimeError(f"expected to make a bridge as root, got: {error.stderr.decode().strip()}") from None
    try:
        _ip("addr", "add", f"{NETWORK}.1/24", "dev", BRIDGE)
        _ip("link", "set", BRIDGE, "up")
        yield
    finally:
        _ip("link", "del", BRIDGE, check=False)


def _ip(*arguments: str, check: bool = True) -> None:
    subprocess.run(["ip", *arguments], check=check, capture_output=True)
