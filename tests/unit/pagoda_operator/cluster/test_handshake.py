"""Handshakes with real servers: one with a certificate, one that refuses the host, and what is neither."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pagoda_guard.parsing import BadInput
from pagoda_operator.cluster import handshake
from pagoda_operator.cluster.handshake import read_expiration, read_handshake, read_names
from pagoda_operator.metrics_api.certificates import LIFE_DAYS, build_bundle

HERE = "127.0.0.1"


def server_context(folder: Path, *names: str) -> ssl.SSLContext:
    bundle = build_bundle(names, datetime.now(UTC))
    (folder / "crt").write_bytes(bundle.certificate_pem)
    (folder / "key").write_bytes(bundle.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "crt", folder / "key")
    return context


@asynccontextmanager
async def serving(context: ssl.SSLContext | None, said: bytes = b"") -> AsyncIterator[int]:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        writer.close()

    server = await asyncio.start_server(answer, HERE, 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


def refuse_one(listening: socket.socket, context: ssl.SSLContext) -> None:
    """NB: a server of asyncio hangs up before it has sent the alert."""
    connection, _ = listening.accept()
    with connection, contextlib.suppress(ssl.SSLError):
        context.wrap_socket(connection, server_side=True)


async def test_the_names_are_those_of_the_certificate_for_the_host_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    by_default, for_host = server_context(tmp_path, "ingress.local"), server_context(tmp_path / "other", "a.b", "*.c")

    def choose(connection: ssl.SSLObject, host: str | None, _: ssl.SSLContext) -> None:
        if host == "a.b":
            connection.context = for_host

    by_default.sni_callback = choose
    async with serving(by_default) as port:
        assert (await read_handshake(HERE, port, "x.y")).names == ("ingress.local",)
        assert (await read_handshake(HERE, port, "a.b")).names == ("a.b", "*.c")


async def test_when_the_certificate_ends_is_read_too(tmp_path: Path) -> None:
    async with serving(server_context(tmp_path, "a.b")) as port:
        ends = (await read_handshake(HERE, port, "a.b")).expires_at
    assert ends == pytest.approx((datetime.now(UTC) + timedelta(days=LIFE_DAYS)).timestamp(), abs=60)


async def test_a_server_that_refuses_the_host_is_told_from_one_that_is_not_there(tmp_path: Path) -> None:
    context = server_context(tmp_path, "a.b")
    context.sni_callback = lambda *_: ssl.AlertDescription.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
    with socket.create_server((HERE, 0)) as listening:
        port = listening.getsockname()[1]
        refused = asyncio.create_task(asyncio.to_thread(refuse_one, listening, context))
        assert (await read_handshake(HERE, port, "x.y")).names is None
        await refused
    with pytest.raises(OSError):
        await read_handshake(HERE, port, "x.y")


async def test_what_speaks_no_tls_is_nothing_known() -> None:
    async with serving(None, b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        with pytest.raises(OSError):
            await read_handshake(HERE, port, "x.y")


async def test_one_that_says_nothing_is_left_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "TIMEOUT_SECONDS", 0.05)
    with socket.create_server((HERE, 0)) as silent, pytest.raises(TimeoutError):
        await read_handshake(HERE, silent.getsockname()[1], "x.y")


@pytest.mark.parametrize("certificate", [b"", b"0\x03nope", bytes(1000)])
def test_bytes_that_are_no_certificate_are_bad_input(certificate: bytes) -> None:
    for read in (read_names, read_expiration):
        with pytest.raises(BadInput):
            read(certificate)
