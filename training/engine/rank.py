"""`python -m training.engine.rank FD`: one process of a training that has several; training/engine/ranks.py starts it."""

import sys
from multiprocessing.connection import Connection

from training.engine.ranks import be_rank

if __name__ == "__main__":
    be_rank(Connection(int(sys.argv[1])))
