"""What a profile's `download` says is what `pagoda fetch` does: another hub, a proxy, a CA that no image has."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import web

from pagoda_operator.api.profile import CA_FOLDER, read_profile
from pagoda_operator.metrics_api.certificates import build_bundle
from tests.contract.hub.conftest import Hub
from tests.contract.hub.test_fetch_hub import fetch, names


@dataclass
class Proxy:
    """Tunnels what it is asked for, and remembers what that was."""

    asked: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.asked.append(head.split("\r\n")[0])
        host, _, port = head.split()[1].rpartition(":")
        there_reader, there_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(pour(reader, there_writer), pour(there_reader, writer))


async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()


@asynccontextmanager
async def serving_tls(hub: Hub, folder: Path) -> AsyncIterator[str]:
    """The hub's address, over TLS by a CA whose certificate is in the folder."""
    bundle = build_bundle(("localhost",), datetime.now(UTC))
    for name, pem in (("ca.crt", bundle.ca_pem), ("tls.crt", bundle.certificate_pem), ("tls.key", bundle.key_pem)):
        (folder / name).write_bytes(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    runner = web.AppRunner(hub.build_app())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    try:
        yield f"https://localhost:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def serving_proxy(proxy: Proxy) -> AsyncIterator[str]:
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def environment_of(download: dict[str, Any], ca_folder: Path) -> dict[str, str]:
    """The variables that the container `fetch` gets, with the ConfigMap's volume in a folder of this machine."""
    pod = read_profile("profiles.p", {"download": download})["pod"]
    return {item["name"]: item["value"].replace(CA_FOLDER, str(ca_folder)) for item in pod["env"]}


async def test_a_mirror_with_a_ca_of_its_own_is_reached_through_the_proxy(tmp_path: Path) -> None:
    hub, proxy = Hub(), Proxy()
    async with serving_tls(hub, tmp_path) as endpoint, serving_proxy(proxy) as address:
        ca = {"configMapName": "ca"}
        given = environment_of({"endpoint": endpoint, "httpsProxy": address, "caBundle": ca}, tmp_path)
        fetched = await fetch(given.pop("HF_ENDPOINT"), tmp_path, **given)
    assert fetched.code == 0, fetched.said
    assert "model.safetensors" in names(tmp_path)
    assert proxy.asked and set(proxy.asked) == {f"CONNECT {endpoint.removeprefix('https://')} HTTP/1.1"}


async def test_what_is_not_to_go_through_the_proxy_does_not(tmp_path: Path) -> None:
    hub, proxy = Hub(), Proxy()
    async with serving_tls(hub, tmp_path) as endpoint, serving_proxy(proxy) as address:
        said = {"httpsProxy": address, "noProxy": "localhost", "caBundle": {"configMapName": "ca"}}
        fetched = await fetch(endpoint, tmp_path, **environment_of(said, tmp_path))
    assert (fetched.code, proxy.asked) == (0, []), fetched.said


async def test_without_the_ca_the_mirror_is_not_trusted(tmp_path: Path) -> None:
    hub = Hub()
    async with serving_tls(hub, tmp_path) as endpoint:
        fetched = await fetch(endpoint, tmp_path)
    assert fetched.code == 1 and fetched.reason_line.startswith("ModelDownloadFailed")
    assert not hub.got
