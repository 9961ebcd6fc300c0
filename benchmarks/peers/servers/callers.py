"""Clients of `transports.py`: threads with a connection each, which send the same request again and again.

    EXAMPLE=example.npz PORT=8000 MODEL=hands-forecast python callers.py {grpc,http} {octets,tensors} CLIENTS CALLS

Requests are made once and answers are not read, so that clients leave the processor to the server. The first call waits for the server.
"""

import http.client
import os
import sys
import threading
import time
from collections.abc import Callable

from transports import LENGTH, METHOD, PATH, example, joined, packed

START_S = 60.0


def grpc_call(form: str) -> Callable[[], bytes]:
    """Return a function that makes a call over a connection of its own."""
    import grpc

    if form == "octets":
        body = joined(example("in_"))
    else:
        from tritonclient.grpc.service_pb2 import ModelInferRequest

        request = ModelInferRequest(model_name=os.environ["MODEL"])
        for name, array in example("in_").items():
            request.inputs.add(name=name, datatype="FP32", shape=array.shape)
            request.raw_input_contents.append(array.tobytes())
        body = request.SerializeToString()
    channel = grpc.insecure_channel(f"127.0.0.1:{os.environ['PORT']}", [("grpc.use_local_subchannel_pool", 1)])
    call = channel.unary_unary("/" + "/".join(METHOD))
    return lambda: call(body, wait_for_ready=True, timeout=START_S)


def http_call(form: str) -> Callable[[], bytes]:
    """Return a function that makes a call over a connection of its own; it raises OSError unless the status is 200."""
    headers = {"content-type": "application/octet-stream"}
    if form == "octets":
        body = joined(example("in_"))
    else:
        body, length = packed("inputs", example("in_"), {"parameters": {"binary_data_output": True}})
        headers[LENGTH] = str(length)
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ["PORT"]))

    def call() -> bytes:
        try:
            connection.request("POST", PATH.format(os.environ["MODEL"]), body, headers)
        except OSError:
            connection.close()
            raise
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise OSError(f"status {answer.status}: {content[:300]!r}")
        return content

    return call


def main() -> None:
    """Make all calls. Raises ValueError unless every client has had all its answers, each with all the bytes of the outputs."""
    transport, form, clients, calls = sys.argv[1:]
    make, least = {"grpc": grpc_call, "http": http_call}[transport], len(joined(example("out_")))
    answered = [0] * int(clients)

    def client(number: int) -> None:
        call = make(form)
        first(call)
        for _ in range(int(calls)):
            answered[number] += len(call()) >= least

    threads = [threading.Thread(target=client, args=(number,)) for number in range(len(answered))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if answered != [int(calls)] * len(answered):
        raise ValueError(f"expected {calls} whole answers for each client, got {answered}")


def first(call: Callable[[], bytes]) -> None:
    """Make a call as soon as the server is there. Raises OSError after START_S."""
    deadline = time.monotonic() + START_S
    while True:
        try:
            call()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


if __name__ == "__main__":
    main()
