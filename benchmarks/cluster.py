"""Chiron on hosts that are network namespaces, and its clients: two hosts have an API and a worker, one the databases, one nginx."""

import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.namespaces import Host, network
from benchmarks.swaps import LINEAGE
from models.contract.bundle import Bundle, write_bundle
from service.registry.versions import Versions

KEY, MODEL = "three-hosts", "hands-eqmotion"
HEADERS = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
LEASE_S, PATIENCE_S = 5.0, 240.0
HOSTS = {"edge": 10, "data": 20, "one": 31, "two": 32}
NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  # two groups of the same servers: a database that does not answer must not take the servers of models out of service
  upstream models {{ server {one}:8000 max_fails=1 fail_timeout=3s; server {two}:8000 max_fails=1 fail_timeout=3s; }}
  upstream jobs {{ server {one}:8000 max_fails=1 fail_timeout=3s; server {two}:8000 max_fails=1 fail_timeout=3s; }}
  server {{
    listen {edge}:80;
    proxy_http_version 1.1; proxy_set_header Connection ""; proxy_connect_timeout 1s; proxy_read_timeout 20s;
    # a forecast can be computed twice, and a job is submitted once for all requests with its Idempotency-Key
    # without http_503: a server that is full is not one that failed
    proxy_next_upstream error timeout non_idempotent; proxy_next_upstream_tries 2;
    location / {{ proxy_pass http://models; }}
    location ~ ^/(jobs|workers|datasets) {{ proxy_pass http://jobs; }}
  }}
}}
"""


@dataclass
class Load:
    """Clients that repeat requests through nginx until `over` is set, and what they saw since the last `report`."""

    address: str
    body: bytes
    over: threading.Event = field(default_factory=threading.Event)
    answers: Counter[str] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    total: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def client(self, method: str, path: str, pause_s: float) -> None:
        """Repeat one request; count answers by status, and errors by their type."""
        while not self.over.is_set():
            begun = time.monotonic()
            try:
                status, _, content = ask(self.address, method, path, self.body if method == "POST" else None)
                outcome = f"{status}"
            except (OSError, http.client.HTTPException) as error:
                outcome, content = type(error).__name__, b""
            name = f"{path.partition('?')[0]} {outcome}"
            with self.lock:
                self.answers[name] += 1
                self.slowest_s = max(self.slowest_s, time.monotonic() - begun)
                if version := version_of(content):
                    self.versions[version] += 1
            self.over.wait(pause_s)

    def report(self) -> dict[str, Any]:
        """Return and forget what was seen since the last report."""
        with self.lock:
            answers, versions, slowest = self.answers, self.versions, self.slowest_s
            self.answers, self.versions, self.slowest_s = Counter(), Counter(), 0.0
            self.total += answers
        failed = {name: count for name, count in answers.items() if not name.endswith(" 200")}
        return {
            "answered": sum(answers.values()) - sum(failed.values()),
            "failed": failed,
            "slowest_s": round(slowest, 1),
            "versions": dict(versions),
        }


def ask(
    address: str, method: str, path: str, body: bytes | None = None, **more: str
) -> tuple[int, dict[str, str], bytes]:
    """Send one request on a connection of its own; return status, headers and content."""
    connection = http.client.HTTPConnection(address, timeout=30)
    try:
        connection.request(method, path, body, HEADERS | more)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def version_of(content: bytes) -> str | None:
    """Return the version of the model that answered, or None for another answer."""
    try:
        return json.loads(content)["model"]["version"]
    except (ValueError, LookupError, TypeError):
        return None


def until(event: str, holds: Callable[[], Any]) -> Any:
    """Return the first true result of a function that may fail for a while. Raises TimeoutError."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            if result := holds():
                return result
        except (OSError, http.client.HTTPException, ValueError, LookupError):
            pass
        time.sleep(0.2)
    raise TimeoutError(f"expected {event} within {PATIENCE_S:g} s")


class Cluster:
    """The hosts with their processes."""

    def __init__(self, folder: Path, source: Bundle) -> None:
        self.folder, self.source = folder, source
        self.hosts: dict[str, Host] = {}
        try:
            for name, number in HOSTS.items():
                self.hosts[name] = Host(name, number, folder / name)
        except BaseException:  # raised again: nothing is left running
            self.close()
            raise
        self.edge, self.data = self.hosts["edge"], self.hosts["data"]
        self.registry = {
            "CHIRON_REGISTRY": "s3://models/chiron", "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_ENDPOINT_URL": f"http://{self.data.address}:5000", "AWS_DEFAULT_REGION": "us-east-1",
        }  # fmt: skip

    def start(self) -> None:
        """Start everything, in order, and wait until both APIs are ready and both workers are connected."""
        self._start_data()
        shutil.copytree(self.source.folder, self.folder / "bundles" / MODEL)
        for name in ("one", "two"):
            self.start_host(name)
        addresses = {name: host.address for name, host in self.hosts.items()}
        config = self.edge.folder / "nginx.conf"
        config.write_text(NGINX.format(folder=self.edge.folder, **addresses))
        self.edge.start(
            ["nginx", "-c", str(config), "-e", str(self.edge.folder / "error.log"), "-p", str(self.edge.folder)]
        )
        for name in ("one", "two"):
            self.ready(name)
        self.workers(2)

    def start_host(self, name: str) -> None:
        """Start the API and the worker of a host."""
        host = self.hosts[name]
        environment = {
            **self.registry, "CHIRON_STATE": str(host.folder / "state"), "CHIRON_BUNDLES": str(self.folder / "bundles"),
            "CHIRON_DATABASE_URL": f"postgresql+psycopg://chiron@{self.data.address}/postgres",
            "CHIRON_REDIS_URL": f"redis://{self.data.address}:6379/0", "CHIRON_API_KEYS": KEY, "CHIRON_LEASE_S": str(LEASE_S),
            "CHIRON_RESEND_S": "5", "CHIRON_JOBS_A_PROCESS": "100", "CHIRON_DECODERS": "0",
            "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        command = [sys.executable, "-m", "service"]
        host.start([*command, "serve", "--host", host.address, "--port", "8000"], environment)
        host.start([*command, "worker", "--device", "cpu"], environment)

    def ready(self, name: str) -> None:
        until(f"a ready API on {name}", lambda: ask(f"{self.hosts[name].address}:8000", "GET", "/readyz")[0] == 200)

    def workers(self, count: int) -> None:
        until(f"{count} connected workers", lambda: len(self.get("/workers")["workers"]) == count)

    def get(self, path: str) -> Any:
        """Return the JSON of an answer through nginx."""
        return self.send("GET", path)

    def send(self, method: str, path: str, body: object = None, **more: str) -> Any:
        status, _, content = ask(
            self.edge.address, method, path, None if body is None else json.dumps(body).encode(), **more
        )
        if status >= 400:
            raise ValueError(f"{method} {path}: {status} {content[:300]!r}")
        return json.loads(content)

    def _start_data(self) -> None:
        binaries = Path(shutil.which("initdb") or "initdb").resolve().parent
        tables = self.data.folder / "tables"
        tables.mkdir()
        shutil.chown(tables, "postgres", "postgres")
        initialise = [
            "setpriv",
            "--reuid=postgres",
            "--regid=postgres",
            "--clear-groups",
            str(binaries / "initdb"),
            "-D",
            str(tables),
        ]
        subprocess.run([*initialise, "-U", "chiron", "--auth", "trust", "-N"], check=True, capture_output=True, cwd="/")
        with (tables / "pg_hba.conf").open("a") as file:
            file.write("host all all 10.77.0.0/24 trust\n")
        address = self.data.address
        listen = ["-c", f"listen_addresses={address}", "-c", f"unix_socket_directories={tables}"]
        self.data.start([str(binaries / "postgres"), "-D", str(tables), *listen], user="postgres")
        redis = [
            "redis-server",
            "--bind",
            address,
            "--protected-mode",
            "no",
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
        ]
        self.data.start([*redis, "--dir", str(self.data.folder)])
        self.data.start([shutil.which("moto_server") or "moto_server", "-H", address, "-p", "5000"])
        os.environ.update(self.registry)
        until("an S3 server", lambda: ask(f"{address}:5000", "PUT", "/models")[0] == 200)

    def publish(self, title: str) -> str:
        """Publish a version with the weights of the shipped bundle and another title, from this machine; return the version."""
        inputs, outputs = self.source.example()
        meta = self.source.meta.model_copy(update={"title": title, "files": {}})
        extra = {"title.txt": title.encode()}
        folder = self.folder / title / MODEL
        bundle = write_bundle(folder, meta, self.source.model.read_bytes(), inputs, outputs, extra)
        versions = Versions("s3://models/chiron", cache=self.folder / "cache")
        versions.publish(versions.stage(bundle, LINEAGE), bundle.meta.version)
        return bundle.meta.version

    def close(self) -> None:
        """Stop the hosts that use the databases first."""
        for host in reversed(self.hosts.values()):
            host.close()


@contextmanager
def cluster(source: Bundle) -> Iterator[Cluster]:
    """Run a cluster in a temporary folder; stop it and remove its networks at the end."""
    with tempfile.TemporaryDirectory(prefix="chiron-hosts-", dir="/tmp") as folder, network():
        Path(folder).chmod(0o755)
        running = Cluster(Path(folder), source)
        try:
            running.start()
            yield running
        finally:
            running.close()
