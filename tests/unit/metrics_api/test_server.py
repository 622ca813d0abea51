"""The metrics API over real TLS on the loopback: its shapes, and who may ask."""

import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pagoda_operator.metrics_api.certificates import build_bundle
from pagoda_operator.metrics_api.server import Trust, build_app, build_ssl_context
from pagoda_operator.metrics_api.shapes import quantity
from pagoda_operator.scrape import LoadUnknownError

NOW = datetime.now(UTC)
GROUP = "/apis/custom.metrics.k8s.io"
METRIC = "namespaces/ns/modeldeployments.pagoda.dev"


async def read_demand(namespace: str, name: str) -> float:
    if name == "cold":
        raise LoadUnknownError("no pod is ready")
    return {("ns", "tiny"): 1234.5678}[(namespace, name)]


class FrontProxy:
    """A CA and the client certificates it signs, as the API server has them."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "front-proxy-ca")])
        ca = self._builder(self.name, self.key).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        self.ca_pem = ca.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def sign(self, name: str) -> tuple[bytes, bytes]:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        pem = builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        return pem, key.private_bytes(encoding, form, serialization.NoEncryption())

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        return builder.not_valid_before(NOW - timedelta(hours=1)).not_valid_after(NOW + timedelta(hours=1))


class Front:
    def __init__(self, port: int, ca_pem: bytes) -> None:
        self.port, self.ca_pem = port, ca_pem

    async def get(self, path: str, client: tuple[str, str] | None) -> tuple[int, Any]:
        context = ssl.create_default_context(cadata=self.ca_pem.decode())
        if client:
            context.load_cert_chain(*client)
        url = f"https://localhost:{self.port}{path}"
        connector = aiohttp.TCPConnector(ssl=context)
        async with aiohttp.ClientSession(connector=connector) as session, session.get(url) as answer:
            return answer.status, await answer.json()


def write(folder: Path, name: str, certificate: bytes, key: bytes) -> tuple[str, str]:
    paths = folder / f"{name}.crt", folder / f"{name}.key"
    paths[0].write_bytes(certificate)
    paths[1].write_bytes(key)
    return str(paths[0]), str(paths[1])


@pytest.fixture
def proxy_ca() -> FrontProxy:
    return FrontProxy()


@pytest.fixture
def proxy(proxy_ca: FrontProxy, tmp_path: Path) -> tuple[str, str]:
    return write(tmp_path, "proxy", *proxy_ca.sign("front-proxy-client"))


@pytest.fixture
async def front(tmp_path: Path, proxy_ca: FrontProxy) -> AsyncIterator[Front]:
    bundle = build_bundle(("localhost",), NOW)
    paths = write(tmp_path, "server", bundle.certificate_pem, bundle.key_pem)
    trust = Trust(proxy_ca.ca_pem.decode(), ("front-proxy-client",))
    runner = web.AppRunner(build_app(read_demand, lambda: trust, wall=lambda: 0.0))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=build_ssl_context(trust, *paths))
    await site.start()
    yield Front(runner.addresses[0][1], bundle.ca_pem)
    await runner.cleanup()


@pytest.mark.parametrize("version", ["v1beta1", "v1beta2"])
async def test_the_demand_has_the_shape_of_its_version(front: Front, proxy: tuple[str, str], version: str) -> None:
    status, body = await front.get(f"{GROUP}/{version}/{METRIC}/tiny/demand_tokens_per_second", proxy)
    assert status == 200
    item = body["items"][0]
    assert (body["kind"], body["apiVersion"]) == ("MetricValueList", f"custom.metrics.k8s.io/{version}")
    assert item["value"] == "1234568m"
    assert item["describedObject"]["name"] == "tiny"
    name = item["metricName"] if version == "v1beta1" else item["metric"]["name"]
    assert name == "demand_tokens_per_second"


async def test_discovery_names_group_versions_and_metric(front: Front, proxy: tuple[str, str]) -> None:
    assert (await front.get("/apis", proxy))[1]["groups"][0]["name"] == "custom.metrics.k8s.io"
    assert (await front.get(GROUP, proxy))[1]["preferredVersion"]["version"] == "v1beta2"
    resources = (await front.get(f"{GROUP}/v1beta1", proxy))[1]["resources"]
    assert resources[0]["name"] == "modeldeployments.pagoda.dev/demand_tokens_per_second"


@pytest.mark.parametrize("tail", ["cold/demand_tokens_per_second", "none/demand_tokens_per_second", "*/x", "tiny/x"])
async def test_what_is_not_known_is_an_error_and_never_zero(front: Front, proxy: tuple[str, str], tail: str) -> None:
    status, body = await front.get(f"{GROUP}/v1beta2/{METRIC}/{tail}", proxy)
    assert (status, body["kind"], body["status"]) == (404, "Status", "Failure")


async def test_without_a_certificate_only_health_is_told(front: Front) -> None:
    assert (await front.get(f"{GROUP}/v1beta2", None))[0] == 401
    assert (await front.get("/healthz", None))[0] == 200


async def test_a_name_that_is_not_allowed_is_refused(front: Front, proxy_ca: FrontProxy, tmp_path: Path) -> None:
    other = write(tmp_path, "other", *proxy_ca.sign("someone-else"))
    assert (await front.get(f"{GROUP}/v1beta2", other))[0] == 401


async def test_a_certificate_of_another_ca_is_refused(front: Front, tmp_path: Path) -> None:
    other = write(tmp_path, "other", *FrontProxy().sign("front-proxy-client"))
    with pytest.raises((aiohttp.ClientError, ssl.SSLError, OSError)):
        await front.get(f"{GROUP}/v1beta2", other)


def test_quantities_are_exact() -> None:
    assert [quantity(value) for value in (0.0, 3.0, 0.5)] == ["0", "3", "500m"]
