"""Tests of the cost of gRPC beside HTTP: ratios are of one round, and servers and clients of both understand each other."""

import sys
from pathlib import Path

from benchmarks.grpc_cost import CELLS, SERVICE, added, measured, summarised, table

BUNDLE = Path(__file__).parents[2] / "bundles" / "hands-forecast"


def test_ratios_compare_a_round_with_http_of_the_same_round():
    spent = {("grpc", "octets"): [2.0, 9.0, 2.0], ("http", "octets"): [1.0, 3.0, 1.0]}  # the second round was slower
    rows = summarised(spent)
    assert rows[0] == {"server": "grpc", "form": "octets", "cpu_ms": 2.0, "of_http": 2.0, "of_http_range": [2.0, 3.0]}
    assert [line.split(" | ")[0] for line in table(rows).splitlines()[2:]] == ["| http", "| grpc"]


def test_every_minimal_server_answers_every_client_with_all_outputs():
    cells = [cell for cell in CELLS if cell[0] != SERVICE]
    spent = measured(Path(sys.executable), BUNDLE, cells, rounds=1, clients=2, calls=50)
    assert set(spent) == set(cells)


def test_the_import_of_grpc_is_measured():
    assert added(Path(sys.executable), 1)["grpcio_mb"] > 1
