"""Tests of the comparison with other servers: ratios are of one round, and the output of wrk is read or refused."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.peers.__main__ import summarised, table
from benchmarks.peers.catalogue import SERVERS, peers
from benchmarks.peers.load import Load, cpu_seconds, result_of
from models.contract.bundle import read_bundle


def test_ratios_compare_a_round_with_the_bare_graph_of_the_same_round():
    loads = [Load(50, 10, 20, 6, 0), Load(10, 50, 90, 9, 1), Load(60, 10, 20, 6, 0)]
    raw = [(100.0, 3.0), (20.0, 6.0), (100.0, 3.0)]  # the machine was slower in the second round
    row = summarised(loads, raw)
    assert (row["per_second"], row["of_bare"], row["cpu_of_bare"], row["fixed_ms"], row["failed"]) == (50, 0.5, 2, 3, 1)
    slower = row | {"per_second": 40.0}
    lines = table({("slow", "JSON"): slower, ("fast", "JSON"): row}).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| fast", "| slow"]


def test_the_last_line_of_wrk_is_read_and_output_without_one_is_refused():
    assert result_of('Running\nRESULT {"requests": 3}\n')["requests"] == 3
    with pytest.raises(ValueError, match="expected a line RESULT"):
        result_of("unable to connect")


def test_cpu_seconds_are_those_of_a_process_group_and_its_children():
    work = "import subprocess, sys; sum(range(10**7)); subprocess.run([sys.executable, '-c', 'sum(range(10**7))']); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", f"{work}; print(1)"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        before = cpu_seconds(os.getpgrp())
        while cpu_seconds(process.pid) < 0.05:
            assert process.poll() is None
        assert cpu_seconds(os.getpgrp()) >= before
    finally:
        process.communicate(b"\n")
    assert cpu_seconds(process.pid) == 0  # nothing of it is alive


def test_every_server_has_its_file_and_a_request_for_the_same_past(tmp_path: Path):
    bundle = read_bundle(SERVERS.parents[2] / "bundles" / "hands-forecast")
    past = bundle.example()[0]["past"][0]
    for peer in peers(bundle, past, 1234, tmp_path):
        files = [argument for argument in peer.arguments if argument.endswith(".py")]
        assert all(argument.startswith(str(SERVERS)) and os.path.isfile(argument) for argument in files)
        assert "JSON" in peer.asks
    assert np.frombuffer(peers(bundle, past, 1, tmp_path)[1].asks["binary"].body, "<f4").size == past.size
