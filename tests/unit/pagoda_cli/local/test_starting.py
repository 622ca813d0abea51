"""A start is told by its phases, from the server's own log."""

import logging

import pytest

from pagoda_cli.local.starting import Starting
from pagoda_server.start.phases import Phases
from tests.doubles.clock import Clock


def test_the_phases_that_the_server_logs_are_read(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    starting = Starting(clock)
    said: list[str | None] = []

    def read_new() -> None:
        said.extend(starting.read(record.getMessage()) for record in caplog.records)
        caplog.clear()

    caplog.set_level(logging.INFO)
    phases = Phases(clock, begun_seconds_ago=2.0)
    read_new()
    with phases.time("load_weights"):
        read_new()
        clock.now += 3.0
        assert starting.describe() == "load weights, 3 s"
    with phases.time("read_config"):
        pass
    phases.end()
    read_new()
    assert [line for line in said if line is not None] == ["load code 2.0 s", "load weights 3.0 s"]
    assert starting.seconds == 3.0


def test_another_line_says_nothing_of_the_start() -> None:
    clock = Clock()
    starting = Starting(clock)
    clock.now += 5.0  # while the model is fetched
    starting.begin()
    assert starting.read("INFO accepting") is None
    assert starting.describe() == "load code, 0 s"
