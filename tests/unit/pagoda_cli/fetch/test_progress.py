"""How far a download is, in a log and in a terminal."""

import io
import threading
from pathlib import Path

from pagoda_cli.fetch.progress import describe_progress, open_terminal, show_progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_names_percent_rate_and_time_left() -> None:
    assert describe_progress(250_000_000, 1_000_000_000, 50e6) == "25 % of 1000.0 MB, 50.0 MB/s, 15 s left"
    assert describe_progress(250_000_000, 1_000_000_000, 0.0) == "25 % of 1000.0 MB, 0.0 MB/s"
    assert describe_progress(250_000_000, None, 50e6) == "250.0 MB, 50.0 MB/s"


def test_progress_is_never_over_a_hundred_percent() -> None:
    assert describe_progress(1_100, 1_000, 0.0).startswith("100 %")


def test_log_gets_a_line_each_time_and_a_terminal_one_line() -> None:
    log, terminal = io.StringIO(), Terminal()
    for stream in (log, terminal):
        say, say_progress = open_terminal(stream)
        say_progress("1 %")
        say_progress("2 %")
        say("done")
    assert log.getvalue() == "1 %\n2 %\ndone\n"
    assert terminal.getvalue().count("\n") == 1
    assert terminal.getvalue().endswith("\r\x1b[2Kdone\n")


def test_long_download_says_how_far_it_is(tmp_path: Path) -> None:
    said: list[str] = []
    heard = threading.Event()

    def say(line: str) -> None:
        said.append(line)
        heard.set()

    (tmp_path / "model.safetensors").write_bytes(bytes(500))
    with show_progress(tmp_path, 1_000, say, every_seconds=0.001):
        assert heard.wait(10)
    assert said[0].startswith("fetch: 50 % of 0.0 MB, ")
