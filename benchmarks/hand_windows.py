"""The windows that each source of hands gives, by split, and the recordings that give none; half a minute.

python -m benchmarks.hand_windows
"""

import argparse
import os
from pathlib import Path

from training.tasks.hands.inventory import inventory
from training.tasks.hands.npz import SOURCES
from training.tasks.hands.windows import PRESETS


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hand_windows", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("CHIRON_DATA", "../shared/data")))
    parser.add_argument("--windows", nargs="+", choices=sorted(PRESETS), default=["10+10@30", "30+30@30"])
    parser.add_argument(
        "--least", nargs=2, type=int, help="count incomplete training windows with so much past and future"
    )
    arguments = parser.parse_args()
    least = arguments.least and tuple(arguments.least)
    names = [source.name for source in SOURCES]
    print(inventory(arguments.data, names, [PRESETS[name] for name in arguments.windows], least))


if __name__ == "__main__":
    main()
