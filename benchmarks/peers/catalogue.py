"""The servers that are compared: how each is started, and how it is asked for a forecast of the same clip."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from jaxtyping import Float

from models.contract.bundle import Bundle

SERVERS = Path(__file__).parent / "servers"
RUNTIME = "onnxruntime==1.32.0"
COMMON = ("uvicorn[standard]==0.54.0", "orjson==3.13.0", RUNTIME)
FASTAPI = ("fastapi==0.165.0", "msgspec==0.23.0", *COMMON)
LITSERVE = ("litserve==0.2.19", *COMMON)
MLSERVER = ("mlserver==1.7.1", RUNTIME)

Past = Float[np.ndarray, "frames joints 3"]


@dataclass(frozen=True)
class Ask:
    """A request that a server answers with the forecast."""

    path: str
    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Peer:
    """A server: its packages ((): this environment), the arguments of its Python, and its requests by form."""

    name: str
    packages: tuple[str, ...]
    arguments: tuple[str, ...]
    asks: Mapping[str, Ask]


def peers(bundle: Bundle, past: Past, port: int, work: Path) -> list[Peer]:
    """Return all servers of a bundle's graph, with a past of its example as the request. Files that a server needs go to `work`."""
    meta = bundle.meta
    clip = {"past": past.tolist()}
    served = {"fps": meta.task.fps, "model": meta.name, **clip}  # pyright: ignore[reportAttributeAccessIssue] - a task of hands
    packed = {**served, "past": past.astype("<f4").tobytes(), "shape": past.shape, "dtype": "<f4"}
    tensor = {"name": "past", "shape": [1, *past.shape], "datatype": "FP32", "data": past.ravel().tolist()}
    form, msgpack = "application/json", "application/msgpack"

    def in_json(path: str, content: object) -> Ask:
        return Ask(path, json.dumps(content).encode(), {"content-type": form, "accept": form})

    octets = Ask("/octets", past.astype("<f4").tobytes(), {"content-type": "application/octet-stream"})
    chiron = ("-m", "service", "serve", "--port", str(port), "--bundles", str(bundle.model.parent.parent))
    return [
        Peer(
            "Chiron",
            (),
            chiron,
            {
                "JSON": in_json("/forecast/hands", served),
                "binary": Ask(
                    "/forecast/hands", msgspec.msgpack.encode(packed), {"content-type": msgpack, "accept": msgpack}
                ),
            },
        ),
        Peer(
            "minimal FastAPI",
            FASTAPI,
            (str(SERVERS / "minimal.py"),),
            {"JSON": in_json("/forecast", clip), "binary": octets},
        ),
        Peer("naive FastAPI", FASTAPI, (str(SERVERS / "naive.py"),), {"JSON": in_json("/forecast", clip)}),
        Peer("LitServe, tuned", LITSERVE, (str(SERVERS / "litserve_tuned.py"),), {"JSON": in_json("/forecast", clip)}),
        Peer(
            "MLServer",
            MLSERVER,
            ("-c", "from mlserver.cli import main; main()", "start", str(_mlserver_folder(work, port))),
            {"JSON": in_json("/v2/models/hands/infer", {"inputs": [tensor]})},
        ),
    ]


def environment(peer: Peer, folder: Path) -> Path:
    """Return the Python of a peer; make its environment under `folder` if there is none of these packages."""
    if not peer.packages:
        return Path(sys.executable)
    home = folder / peer.packages[0].replace("==", "-")
    python, made = home / "bin" / "python", home / "packages.json"
    if not made.is_file() or json.loads(made.read_text()) != list(peer.packages):
        subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
        pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        subprocess.run([python, *pip, *peer.packages], check=True)
        made.write_text(json.dumps(peer.packages))
    return python


def _mlserver_folder(work: Path, port: int) -> Path:
    """Write the settings of MLServer, which reads them from a folder: without its own workers, which made it slower here."""
    folder = work / "mlserver"
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "http_port": port,
        "grpc_port": port + 1,
        "metrics_port": port + 2,
        "parallel_workers": 0,
        "debug": False,
        "use_structured_logging": False,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    model = {"name": "hands", "implementation": "mlserver_runtime.Forecaster"}
    (folder / "model-settings.json").write_text(json.dumps(model))
    return folder
