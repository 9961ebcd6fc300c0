"""The cost of HTTP: CPU time of the server process per forecast, beside the bare ONNX Runtime session on the same clip.

    OMP_NUM_THREADS=1 python -m benchmarks.serving [bundle]

The server is the real one, in its own process, asked over one kept-alive connection. Its CPU time is what it says of itself at /metrics.
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
    """Measure, print a table and keep it with the machine it was taken on."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "bundles/hands-eqmotion")
    bundle = read_bundle(folder)
    predictor, (clip, _) = Predictor(bundle, "cpu"), bundle.example()
    results: dict[str, object] = {"machine": machine(), "bundle": bundle.meta.name, "version": bundle.meta.version}
    print("| form | server CPU ms a request | bare session, CPU ms | ratio |\n|---|---|---|---|")
    with server(folder.parent) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        question = json.loads(ask(connection, "GET", f"/models/{bundle.meta.name}/example"))
        for form, (path, body, headers) in forms(question).items():
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


def forms(question: dict) -> dict[str, tuple[str, bytes, dict[str, str]]]:
    """The same request in every form: path, body and headers."""
    past = np.array(question["past"], dtype="<f4")
    parameters = f"fps={question['fps']}&units=m&joints={question['joints']}&model={question['model']}"
    packed = {**question, "past": past.tobytes(), "shape": past.shape, "dtype": "<f4"}
    preamble = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {past.shape}, }}".encode()
    npy = b"\x93NUMPY\x01\x00" + len(preamble).to_bytes(2, "little") + preamble + past.tobytes()
    bodies = {
        "application/json": ("/forecast/hands", json.dumps(question).encode()),
        "application/msgpack": ("/forecast/hands", msgspec.msgpack.encode(packed)),
        "application/x-npy": (f"/forecast/hands?{parameters}", npy),
    }
    return {form: (path, body, {"content-type": form, "accept": form}) for form, (path, body) in bodies.items()}


@contextmanager
def server(bundles: Path) -> Iterator[int]:
    """A service process on a free port, ended afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "service", "serve", "--port", str(port), "--bundles", str(bundles)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        for _ in range(300):
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
    """The answer's body. Raises ValueError unless it is a 200."""
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != 200:
        raise ValueError(f"{method} {path} gave {answer.status}: {content[:300]!r}")
    return content


def cpu_seconds(connection: http.client.HTTPConnection) -> float:
    """CPU seconds of the server process so far, in steps of a hundredth."""
    found = re.search(rb"^process_cpu_seconds_total ([0-9.e+-]+)$", ask(connection, "GET", "/metrics"), re.MULTILINE)
    if found is None:
        raise ValueError("the server's metrics have no process_cpu_seconds_total")
    return float(found[1])


if __name__ == "__main__":
    main()
