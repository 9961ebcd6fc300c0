"""The health check of a worker's container: python -m service.jobs.worker.health

It fails if no worker of this host is registered, or if a registered one reports that jobs would fail.
"""

import socket
import sys

from service.jobs.database import StoreUnavailable, open_database
from service.jobs.workers import WorkerTable
from service.settings import Settings


def main() -> str | None:
    """Return what is wrong with the worker of this host, or None."""
    settings = Settings()
    try:
        workers = WorkerTable(open_database(settings.database), lease_s=settings.lease_s).workers()
    except StoreUnavailable as error:
        return str(error)
    own = [worker for worker in workers if worker.name.startswith(socket.gethostname() + ":")]
    if not own:
        return "no worker of this host is registered"
    for worker in own:
        if worker.failed_starts:
            return f"{worker.failed_starts} starts of a child process in a row have failed; see the worker's log"
    return next((worker.problem for worker in own if worker.problem is not None), None)


if __name__ == "__main__":
    sys.exit(main())
