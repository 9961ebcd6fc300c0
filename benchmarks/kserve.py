"""KServe's own client, unmodified, against a server: health, readiness, and the example of a bundle in JSON and with binary tensors.

    python -m benchmarks.kserve [bundle]

The client gets an environment of its own under ~/.cache/chiron-peers, which takes two minutes and 400 MB at first. It fails if an answer is
more than 1e-5 from that of the bundle.
"""

import subprocess
import sys
from pathlib import Path

from benchmarks.peers.catalogue import Peer, environment
from benchmarks.serving import server

CLIENT = "kserve==0.21.0"
PROGRAM = """
import asyncio, sys
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

async def main(url, name, example):
    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
    print("live", await client.is_server_live(url), "ready", await client.is_server_ready(url), await client.is_model_ready(url, name))
    arrays = np.load(example)
    given = {key[3:]: arrays[key] for key in arrays if key.startswith("in_")}
    expected = {key[4:]: arrays[key] for key in arrays if key.startswith("out_")}
    for binary in (False, True):
        inputs = []
        for tensor, values in given.items():
            types = {"float32": "FP32", "float64": "FP64", "int64": "INT64"}
            inputs.append(InferInput(name=tensor, shape=list(values.shape), datatype=types[values.dtype.name]))
            inputs[-1].set_data_from_numpy(values, binary_data=binary)
        answer = await client.infer(url, InferRequest(model_name=name, infer_inputs=inputs), model_name=name)
        apart = [np.abs(one.as_numpy().reshape(expected[one.name].shape) - expected[one.name]).max() for one in answer.outputs]
        print("binary" if binary else "JSON", [one.name for one in answer.outputs], "largest difference", max(apart))
        assert max(apart) < 1e-5 and len(apart) == len(expected)

asyncio.run(main(*sys.argv[1:]))
"""


def main() -> None:
    """Run the client against a server with the bundle."""
    bundle = Path(sys.argv[1] if len(sys.argv) > 1 else "bundles/hands-forecast")
    python = environment(Peer("KServe", (CLIENT,), (), {}), Path.home() / ".cache" / "chiron-peers")
    with server(bundle.parent) as port:
        arguments = (f"http://127.0.0.1:{port}", bundle.name, str(bundle / "example.npz"))
        subprocess.run([python, "-c", PROGRAM, *arguments], check=True)


if __name__ == "__main__":
    main()
