"""The service under a path prefix, behind the nginx and Caddy configurations of deploy/, with TLS.

    OMP_NUM_THREADS=1 python -m benchmarks.proxies [nginx] [caddy]

The configurations run as they are but for addresses and certificates. Each check asks through the proxy, and raises if the answer is
wrong.
"""

import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
from websockets.sync.client import connect

from benchmarks.timing import machine

DEPLOY = Path(__file__).resolve().parents[1] / "deploy"
RESULTS = Path(__file__).parent / "results" / "proxies.json"
HOST, PREFIX, KEY, START_S = "chiron.example.com", "/chiron", "proxied", 120.0
LARGE = 20 << 20  # bytes of a body that is over the service's limit and under the proxies'


@dataclass(frozen=True)
class Place:
    """The folder of a proxy, its port and the API's, and a certificate for HOST."""

    folder: Path
    port: int
    api: int

    @property
    def certificate(self) -> Path:
        """Return the path of the certificate; its key is beside it."""
        return self.folder / "fullchain.pem"

    def nginx(self) -> list[str]:
        """Write nginx's configuration; return the command that runs it."""
        site = (DEPLOY / "nginx/chiron.conf").read_text()
        site = site.replace("127.0.0.1:8000", f"127.0.0.1:{self.api}").replace("listen 443", f"listen {self.port}")
        site = site.replace("/etc/ssl/chiron", str(self.folder))
        temporary = " ".join(
            f"{kind}_temp_path {self.folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        config = self.folder / "nginx.conf"
        config.write_text(
            f"daemon off; pid {self.folder}/nginx.pid; error_log {self.folder}/error.log;\n"
            f"events {{}}\nhttp {{\naccess_log off; {temporary}\n{site}\n}}\n"
        )
        return ["nginx", "-c", str(config), "-e", str(self.folder / "error.log"), "-p", str(self.folder)]

    def caddy(self) -> list[str]:
        """Write Caddy's configuration; return the command that runs it."""
        site = (DEPLOY / "caddy/Caddyfile").read_text().replace("127.0.0.1:8000", f"127.0.0.1:{self.api}")
        key = self.folder / "privkey.pem"
        opening = f"https://{HOST}:{self.port} {{\n\ttls {self.certificate} {key}"
        config = self.folder / "Caddyfile"
        options = f"{{\n\tadmin off\n\tauto_https disable_redirects\n\tstorage file_system {self.folder}/store\n}}\n"
        config.write_text(options + re.sub(rf"^{HOST} {{", lambda _: opening, site, flags=re.MULTILINE))
        return ["caddy", "run", "--config", str(config), "--adapter", "caddyfile"]


def free_port() -> int:
    """Return a port that is free at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def program(command: list[str], log: Path, **environment: str) -> Iterator[None]:
    """Run a program while the block runs; raise RuntimeError if it ends by itself."""
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env={**clean_environment(), **environment})
    try:
        yield
        if process.poll() is not None:
            raise RuntimeError(f"{command[0]} ended with status {process.returncode}: {log.read_text()[-2000:]}")
    finally:
        process.terminate()
        process.wait(60)


def clean_environment() -> dict[str, str]:
    """Return this process's environment without settings of the service."""
    return {name: value for name, value in os.environ.items() if not name.startswith("CHIRON_")}


def certify(place: Place) -> None:
    """Write a certificate for HOST that signs itself, and its key."""
    key = ["-keyout", str(place.folder / "privkey.pem"), "-out", str(place.certificate)]
    name = ["-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *name, *key]
    subprocess.run(command, check=True, capture_output=True)


@contextmanager
def proxied(kind: str, bundles: Path) -> Iterator["Client"]:
    """Run the service and a proxy in front of it; yield a client of the proxy."""
    with tempfile.TemporaryDirectory() as name:
        place = Place(Path(name), free_port(), free_port())
        certify(place)
        api = [sys.executable, "-m", "service", "serve", "--port", str(place.api), "--bundles", str(bundles)]
        settings = {
            "CHIRON_ROOT_PATH": PREFIX,
            "CHIRON_TRUSTED_PROXIES": "127.0.0.1",
            "CHIRON_API_KEYS": KEY,
            "CHIRON_STATE": str(place.folder / "state"),
        }
        command = place.nginx() if kind == "nginx" else place.caddy()
        with (
            program(api, place.folder / "api.log", **settings),
            program(command, place.folder / "proxy.log", HOME=str(place.folder)),
        ):
            client = Client(place)
            with client.http:
                client.wait_until_ready()
                yield client


class Client:
    """A client that trusts the proxy's certificate and reaches HOST on this machine."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.tls = ssl.create_default_context(cafile=str(place.certificate))
        self.http = httpx2.Client(
            verify=self.tls,
            base_url=f"https://127.0.0.1:{place.port}",
            headers={"host": f"{HOST}:{place.port}", "authorization": f"Bearer {KEY}"},
            timeout=60,
        )

    def ask(self, method: str, path: str, **more: object) -> httpx2.Response:
        """Send a request to the path below the prefix."""
        return self.http.request(method, PREFIX + path, extensions={"sni_hostname": HOST}, **more)  # pyright: ignore[reportArgumentType] - httpx's own keywords

    def wait_until_ready(self) -> None:
        """Ask until the service is ready; raise TimeoutError after START_S seconds."""
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            try:
                if self.ask("GET", "/readyz").status_code == 200:
                    return
            except httpx2.TransportError:
                pass
            time.sleep(0.1)
        raise TimeoutError(f"expected a ready service within {START_S:g} s")


def pages(client: Client) -> str:
    """Check that the pages load, and that nothing in them leaves the prefix."""
    for path in ("/", "/docs"):
        page = client.ask("GET", path)
        assert page.status_code == 200, (path, page.status_code)
        outside = [
            link for link in re.findall(r"""(?:src|href)=["'](/[^"']*)""", page.text) if not link.startswith(PREFIX)
        ]
        assert not outside, f"expected links below {PREFIX}, got {outside}"
    (server,) = client.ask("GET", "/openapi.json").json()["servers"]
    assert server["url"].endswith(PREFIX), server
    moved = client.http.get(PREFIX, extensions={"sni_hostname": HOST})
    assert moved.headers["location"].endswith(PREFIX + "/"), moved.headers
    return "below the prefix"


def forecast(client: Client) -> str:
    """Check that a forecast is answered, and refused without a key."""
    example = client.ask("GET", "/models/hands-damped/example").json()
    answer = client.ask("POST", "/forecast/hands", json=example)
    assert answer.status_code == 200, answer.text
    refused = client.ask("POST", "/forecast/hands", json=example, headers={"authorization": "Bearer wrong"})
    assert refused.status_code == 401, refused.status_code
    kind = refused.json()["type"]
    assert PREFIX + "/problems/" in kind, kind
    return f"{len(answer.json()['times'])} times; {kind.rsplit('/', 1)[1]} without a key"


def large_body(client: Client) -> str:
    """Check that a body over the service's limit gets the service's problem, not the proxy's page."""
    answer = client.ask("POST", "/forecast/hands", content=b" " * LARGE, headers={"content-type": "application/json"})
    assert answer.status_code == 413, answer.status_code
    return answer.json()["title"]


def stream(client: Client) -> str:
    """Check that a WebSocket passes: settings, a frame, an answer."""
    with connect(
        f"wss://{HOST}:{client.place.port}{PREFIX}/forecast/hands/stream",
        sock=socket.create_connection(("127.0.0.1", client.place.port)),
        ssl=client.tls,
        server_hostname=HOST,
        additional_headers={"authorization": f"Bearer {KEY}"},
    ) as socket_:
        socket_.send(json.dumps({"fps": 30, "model": "hands-damped"}))
        return json.loads(socket_.recv())["kind"]


def events(client: Client) -> str:
    """Check that a job is submitted and that its first event comes at once, not when a buffer is full."""
    submitted = client.ask("POST", "/jobs", json={"kind": "train", "run": "hands-eqmotion"})
    assert submitted.status_code == 202, submitted.text
    location = submitted.headers["location"]
    assert PREFIX + "/jobs/" in location, location
    job = location.rsplit("/", 1)[1]
    start = time.perf_counter()
    with client.http.stream("GET", f"{PREFIX}/jobs/{job}/events", extensions={"sni_hostname": HOST}) as answer:
        first = next(line for line in answer.iter_lines() if line)
    client.ask("POST", f"/jobs/{job}/cancel")
    return f"{first!r} after {1000 * (time.perf_counter() - start):.0f} ms"


CHECKS: tuple[Callable[[Client], str], ...] = (pages, forecast, large_body, stream, events)


def main() -> None:
    """Run the checks behind each proxy that is named, or behind both; save and print what was seen."""
    results: dict[str, object] = {"machine": machine()}
    for kind in sys.argv[1:] or ("nginx", "caddy"):
        if shutil.which(kind) is None:
            raise SystemExit(f"{kind} is not installed")
        version = subprocess.run([kind, "version" if kind == "caddy" else "-v"], capture_output=True, text=True)
        with proxied(kind, Path("bundles")) as client:
            seen = {check.__name__: check(client) for check in CHECKS}
        results[kind] = {"version": (version.stdout + version.stderr).strip(), **seen}
        print(json.dumps({kind: results[kind]}, indent=1), flush=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
