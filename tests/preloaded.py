"""An interpreter that starts in milliseconds: a process that has imported the libraries runs every command in a fork of itself.

    preloaded.py serve SOCKET              listen at SOCKET
    preloaded.py run SOCKET [ARGUMENT...]  run `python ARGUMENT...` there, with this process's environment, folder and standard streams

Only libraries are imported beforehand, so that each command imports the packages of the checkout by itself. `python` has three forms here:
`-m MODULE`, `-c CODE` and `-` or a file, as in Python's own command line.
"""

import json
import os
import socket
import sys

LIBRARIES = (
    *(
        "torch",
        "torch.export",
        "torch.onnx",
        "onnx",
        "onnxscript",
        "onnxruntime",
        "lightning_fabric",
        "numpy",
        "scipy.ndimage",
    ),
    *(
        "scipy.spatial",
        "matplotlib.figure",
        "PIL.Image",
        "fastapi",
        "msgspec",
        "pydantic_settings",
        "typer",
        "jaxtyping",
    ),
)


def serve(path: str) -> None:
    """Import the libraries, then run commands until the process is killed."""
    import importlib

    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # as models/contract/runtime.py does before it imports onnxruntime
    for library in LIBRARIES:
        importlib.import_module(library)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    while True:
        connection, _ = listener.accept()
        message, streams, _, _ = socket.recv_fds(connection, 1 << 20, 3)
        child = os.fork()
        if child == 0:
            listener.close()
            if os.fork() == 0:  # a grandchild, so that this loop waits for no command
                _supervise(connection, json.loads(message), streams)
            os._exit(0)
        os.waitpid(child, 0)
        for descriptor in (connection.detach(), *streams):
            os.close(descriptor)


def _supervise(connection: socket.socket, command: dict, streams: list[int]) -> None:
    """Run a command in a child process and send its exit status."""
    child = os.fork()
    if child == 0:
        connection.close()
        for number, descriptor in enumerate(streams):
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.environ.clear()
        os.environ.update(command["environment"])
        os.chdir(command["folder"])
        status = 1
        try:
            _execute(command["arguments"])
            status = 0
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        except BaseException:  # printed, as the interpreter prints what ends a program
            sys.excepthook(*sys.exc_info())  # pyright: ignore[reportArgumentType] - there is an exception
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    for descriptor in streams:
        os.close(descriptor)
    connection.sendall(bytes([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 0xFF]))
    os._exit(0)


def _execute(arguments: list[str]) -> None:
    """Run Python's arguments as its command line does."""
    import runpy

    first, rest = arguments[0], arguments[1:]
    sys.path[:0] = [
        "" if first.startswith("-") else os.path.dirname(first),
        *os.environ["PYTHONPATH"].split(os.pathsep),
    ]
    if first == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif first in ("-c", "-"):
        sys.argv = [first, *rest[first == "-c" :]]
        exec(compile(rest[0] if first == "-c" else sys.stdin.read(), "<command>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = arguments
        runpy.run_path(first, run_name="__main__")


def run(path: str, arguments: list[str]) -> int:
    """Have the process at `path` run a command, and return its exit status."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        command = {"arguments": arguments, "environment": dict(os.environ), "folder": os.getcwd()}
        socket.send_fds(connection, [json.dumps(command).encode()], [0, 1, 2])
        status = connection.recv(1)
        return status[0] if status else 1


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    sys.exit(run(sys.argv[2], sys.argv[3:]))
