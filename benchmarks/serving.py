"""CPU time of the server process per HTTP request, compared with the bare ONNX Runtime session on the same clip.

    OMP_NUM_THREADS=1 python -m benchmarks.serving [bundle]

The server is a subprocess that gets requests over one persistent connection. Its CPU time comes from /metrics.
"""

import http.client
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.timing import cpu_ms, machine
from models.contract.bundle import read_bundle
from service.inference.predictor import Predictor

RESULTS = Path(__file__).parent / "results" / "serving.json"
REQUESTS = 400


def main() -> None:
    """Measure, print a table, and save it with a description of the machine."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "bundles/hands-eqmotion")
    bundle = read_bundle(folder)
    predictor, (clip, _) = Predictor(bundle, "cpu"), bundle.example()
    results: dict[str, object] = {"machine": machine(), "bundle": bundle.meta.name, "version": bundle.meta.version}
    print("| format | server CPU ms per request | bare session, CPU ms | ratio |\n|---|---|---|---|")
    with server(folder.parent) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        example = json.loads(ask(connection, "GET", f"/models/{bundle.meta.name}/example"))
        for form, (path, body, headers) in requests_of(example).items():
            (bare,) = cpu_ms(lambda: predictor.run(clip), runs=200)
            ask(connection, "POST", path, body, headers)
            before = cpu_seconds(connection)
            for _ in range(REQUESTS):
                ask(connection, "POST", path, body, headers)
            each = 1000 * (cpu_seconds(connection) - before) / REQUESTS
            results[form] = {"server_ms": each, "bare_ms": bare}
            print(f"| {form} | {each:.2f} | {bare:.2f} | {each / bare:.2f} |", flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


def requests_of(example: dict) -> dict[str, tuple[str, bytes, dict[str, str]]]:
    """Return the example request in every format: path, body and headers."""
    past = np.array(example["past"], dtype="<f4")
    parameters = f"fps={example['fps']}&units=m&joints={example['joints']}&model={example['model']}"
    packed = {**example, "past": past.tobytes(), "shape": past.shape, "dtype": "<f4"}
    preamble = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {past.shape}, }}".encode()
    npy = b"\x93NUMPY\x01\x00" + len(preamble).to_bytes(2, "little") + preamble + past.tobytes()
    bodies = {
        "application/json": ("/forecast/hands", json.dumps(example).encode()),
        "application/msgpack": ("/forecast/hands", msgspec.msgpack.encode(packed)),
        "application/x-npy": (f"/forecast/hands?{parameters}", npy),
    }
    return {form: (path, body, {"content-type": form, "accept": form}) for form, (path, body) in bodies.items()}


@contextmanager
def server(bundles: Path) -> Iterator[int]:
    """Run a service process on a free port while the block runs; yield the port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "service", "serve", "--port", str(port), "--bundles", str(bundles)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        for _ in range(1200):
            try:
                ask(http.client.HTTPConnection("127.0.0.1", port), "GET", "/readyz")
                break
            except OSError:
                time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=30)


def ask(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes = b"", headers: dict | None = None
) -> bytes:
    """Return the body of the answer; raise ValueError unless its status is 200."""
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != 200:
        raise ValueError(f"{method} {path} gave {answer.status}: {content[:300]!r}")
    return content


def cpu_seconds(connection: http.client.HTTPConnection) -> float:
    """Return the CPU seconds that the server process has used, to a hundredth."""
    match = re.search(rb"^process_cpu_seconds_total ([0-9.e+-]+)$", ask(connection, "GET", "/metrics"), re.MULTILINE)
    if match is None:
        raise ValueError("the server's metrics have no process_cpu_seconds_total")
    return float(match[1])


if __name__ == "__main__":
    main()
