"""What is shown for a host counts when it was seen twice; where nobody answers, nothing is known."""

import asyncio
from typing import Any

import pytest

from pagoda_guard.tasks import Tasks
from pagoda_operator.controller.handshake_reader import (
    AGAIN_SECONDS,
    GOOD_SECONDS,
    SILENT_SECONDS,
    HandshakeReader,
    Question,
    build_question,
)
from pagoda_operator.plan import Handshake

KEY = ("ns", "m")
HOST, ADDRESS = "a.example.com", "192.0.2.1"
MODEL = {"spec": {"ingress": {"host": HOST, "tlsSecretName": "t"}}}
FAKE, GOOD = Handshake(ADDRESS, ("ingress.local",)), Handshake(ADDRESS, (HOST,))


def ingress(*addresses: dict[str, str], secret: str = "t") -> dict[str, Any]:
    tls = [{"hosts": [HOST], "secretName": secret}]
    return {"spec": {"tls": tls}, "status": {"loadBalancer": {"ingress": list(addresses)}}}


class Controller:
    """What answers at the address, and a clock that the test turns."""

    def __init__(self) -> None:
        self.now, self.leads, self.asked = 100.0, True, 0
        self.shown: Handshake | Exception = FAKE
        self.models: list[Any] = [(KEY, MODEL, ingress({"ip": ADDRESS}))]
        self.news: list[tuple[str, str]] = []
        self.reader = HandshakeReader(
            clock=lambda: self.now,
            tasks=Tasks(count=lambda name: None),
            models=lambda: self.models,
            is_leader=lambda: self.leads,
            on_news=self.news.append,
            read=self.read,
        )

    async def read(self, address: str, port: int, host: str) -> Handshake:
        assert (address, port, host) == (ADDRESS, 443, HOST)
        self.asked += 1
        if isinstance(self.shown, Exception):
            raise self.shown
        return self.shown

    async def step(self, after_seconds: float = 0.0) -> Handshake | None:
        self.now += after_seconds
        self.reader.step()
        for _ in range(5):
            await asyncio.sleep(0)
        return self.reader.known(KEY)


async def test_what_was_seen_twice_is_known_and_news_once() -> None:
    controller = Controller()
    assert await controller.step() is None
    assert await controller.step(AGAIN_SECONDS) == FAKE
    assert await controller.step(AGAIN_SECONDS) == FAKE
    assert controller.news == [KEY]
    controller.shown = GOOD
    assert await controller.step(AGAIN_SECONDS) is None, "at once it is no longer said that there is none"
    assert await controller.step(AGAIN_SECONDS) == GOOD


@pytest.mark.parametrize(("shown", "pause"), [(FAKE, AGAIN_SECONDS), (GOOD, GOOD_SECONDS), (OSError(), SILENT_SECONDS)])
async def test_a_host_is_asked_for_seldom_where_that_suffices(shown: Handshake | Exception, pause: float) -> None:
    controller = Controller()
    controller.shown = shown
    await controller.step()
    await controller.step(AGAIN_SECONDS if isinstance(shown, Handshake) else SILENT_SECONDS)
    before = controller.asked
    await controller.step(pause - 1)
    assert controller.asked == before
    await controller.step(1)
    assert controller.asked == before + 1


async def test_where_nobody_answers_any_more_nothing_is_known() -> None:
    controller = Controller()
    await controller.step()
    assert await controller.step(AGAIN_SECONDS) == FAKE
    controller.shown = TimeoutError()
    assert await controller.step(AGAIN_SECONDS) is None
    assert controller.news == [KEY, KEY]


async def test_another_secret_is_another_question() -> None:
    controller = Controller()
    await controller.step()
    await controller.step(AGAIN_SECONDS)
    model = {"spec": {"ingress": {"host": HOST, "tlsSecretName": "u"}}}
    controller.models = [(KEY, model, ingress({"ip": ADDRESS}, secret="u"))]
    assert await controller.step() is None


async def test_who_does_not_lead_asks_nobody_and_what_is_gone_is_forgotten() -> None:
    controller = Controller()
    await controller.step()
    await controller.step(AGAIN_SECONDS)
    controller.leads = False
    assert await controller.step(AGAIN_SECONDS) is None and controller.asked == 2
    controller.leads, controller.models = True, []
    assert await controller.step(AGAIN_SECONDS) is None and controller.asked == 2


@pytest.mark.parametrize(
    ("model", "made", "expected"),
    [
        (MODEL, ingress({"ip": ADDRESS}), Question(HOST, "t", ADDRESS)),
        (MODEL, ingress({"hostname": "lb.example.com"}), Question(HOST, "t", "lb.example.com")),
        (MODEL, ingress({"ip": "127.0.0.1"}, {"ip": "169.254.169.254"}, {"ip": ADDRESS}), Question(HOST, "t", ADDRESS)),
        (MODEL, ingress({"hostname": "localhost"}), None),
        (MODEL, ingress(), None),
        (MODEL, ingress({"ip": ADDRESS}, secret="before"), None),
        (MODEL, None, None),
        ({"spec": {"ingress": {"host": HOST}}}, ingress({"ip": ADDRESS}), None),
        ({"spec": {}}, ingress({"ip": ADDRESS}), None),
    ],
)
def test_a_host_is_asked_for_where_its_controller_says_that_it_serves_it(
    model: dict[str, Any], made: dict[str, Any] | None, expected: Question | None
) -> None:
    assert build_question(model, made) == expected
