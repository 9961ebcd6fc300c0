"""The fuzzer of all readers of untrusted files, on damaged files and garbage.

    python -m benchmarks.fuzz [READER ...] --inputs 10000 --save faults

A reader may raise only the errors that it declares. Its peak memory is at most 5 times the input + 50 MB, and its time grows at most
linearly with the input. Each reader runs in its own process with a limited address space. The exit status is 1 if there is a fault.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

from benchmarks.fuzz.alone import run_alone
from benchmarks.fuzz.harness import Fault
from benchmarks.fuzz.table import readers
from benchmarks.timing import machine

RESULTS = Path(__file__).resolve().parent.parent / "results" / "fuzz.json"


def main() -> int:
    """Fuzz the named readers, print a table, and save it with a description of the machine."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("readers", nargs="*", metavar="READER", help=f"default: all of {', '.join(readers())}")
    parser.add_argument("--inputs", type=int, default=10_000, help="number of inputs for each reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", type=Path, help="folder for inputs that broke a limit")
    options = parser.parse_args()
    names = options.readers or list(readers())
    if unknown := sorted(set(names) - set(readers())):
        parser.error(f"expected readers of {', '.join(readers())}, got {', '.join(unknown)}")
    print("| reader | inputs | accepted | slowest, ms | peak memory, MB | faults |\n|---|---|---|---|---|---|")
    results: dict[str, dict[str, float]] = {}
    failed = False
    for name in names:
        report = run_alone(name, options.inputs, options.seed)
        results[name] = {
            "inputs": report.inputs,
            "accepted": report.accepted,
            "slowest_ms": round(1000 * report.slowest_s, 1),
            "peak_mb": round(report.peak_bytes / 1e6, 1),
            "faults": len(report.faults),
        }
        print("|", " | ".join(map(str, (name, *results[name].values()))), "|", flush=True)
        for fault in report.faults:
            failed = True
            print(f"  {fault.kind}: {fault.detail}\n  {fault.data[:120]!r}", file=sys.stderr)
            if options.save:
                save(options.save, name, fault)
    if not options.readers:
        RESULTS.write_text(json.dumps({"machine": machine(), "readers": results}, indent=1) + "\n")
    return 1 if failed else 0


def save(folder: Path, name: str, fault: Fault) -> None:
    """Write the input of a fault to a file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}-{fault.kind}-{hashlib.sha256(fault.data).hexdigest()[:12]}").write_bytes(fault.data)


if __name__ == "__main__":
    sys.exit(main())
