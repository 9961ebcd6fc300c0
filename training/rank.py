"""`python -m training.rank FD`: one process of a training that has several (training/ranks.py begins it)."""

import sys
from multiprocessing.connection import Connection

from training.ranks import be_rank

if __name__ == "__main__":
    be_rank(Connection(int(sys.argv[1])))
