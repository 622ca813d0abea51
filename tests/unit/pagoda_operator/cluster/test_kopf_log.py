"""What of Kopf's log becomes the operator's, and how."""

import io
import logging
from collections.abc import Iterator

import aiohttp
import pytest

from pagoda_operator.cluster.kopf_log import set_up_kopf_log

KOPF = logging.getLogger("kopf.any.part")


@pytest.fixture
def heard() -> Iterator[io.StringIO]:
    """NB: caplog hears a logger that does not propagate twice, and unfiltered."""
    set_up_kopf_log()
    handler = logging.StreamHandler(text := io.StringIO())
    logging.getLogger().addHandler(handler)
    yield text
    logging.getLogger().removeHandler(handler)


def fail(error: Exception) -> None:
    try:
        raise error
    except Exception:
        KOPF.exception("Watcher has failed")


def test_a_fault_of_the_code_keeps_its_traceback(heard: io.StringIO) -> None:
    fail(KeyError("metadata"))
    assert "Traceback" in heard.getvalue()


@pytest.mark.parametrize("error", [aiohttp.ServerDisconnectedError(), TimeoutError()])
def test_a_fault_of_the_api_server_has_none(heard: io.StringIO, error: Exception) -> None:
    fail(error)
    assert heard.getvalue() == "Watcher has failed\n"


def test_a_record_comes_once(heard: io.StringIO) -> None:
    set_up_kopf_log()
    KOPF.warning("Unresolved resources cannot be served")
    assert heard.getvalue() == "Unresolved resources cannot be served\n"


def test_what_is_meant_to_be_so_is_no_news(heard: io.StringIO) -> None:
    KOPF.warning("OS signals are ignored: running not in the main thread.")
    KOPF.info("any other news")
    assert heard.getvalue() == ""
