"""The metrics API follows what the cluster says of its front proxy, and refuses everyone while it says nonsense."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest

from pagoda_guard.tasks import Tasks
from pagoda_operator.metrics_api.certificates import LIFE_DAYS
from pagoda_operator.metrics_api.serving import CHECK_SECONDS, RETRY_SECONDS, MetricsApi
from pagoda_operator.settings import Settings
from tests.doubles.api_server import FakeApi

from .conftest import NOW, FrontProxy, write

DISCOVERY = "/apis/custom.metrics.k8s.io"
TRUST = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"
SETTINGS = Settings(metrics_service="localhost", metrics_api_port=0)
SECRET = f"/api/v1/namespaces/{SETTINGS.namespace}/secrets/localhost-metrics-tls"


class Served:
    def __init__(self, cluster: FakeApi, tasks: Tasks) -> None:
        self.expirations: list[float] = []
        self.api = MetricsApi(
            cluster,
            SETTINGS,
            read_demand=_no_demand,
            is_leader=lambda: True,
            wall=NOW.timestamp,
            clock=asyncio.get_running_loop().time,
            tasks=tasks,
            count_error=lambda: None,
            show_expiration=self.expirations.append,
        )

    async def can_ask(self, client: tuple[str, str]) -> bool:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.load_cert_chain(*client)
        url = f"https://127.0.0.1:{self.api.port_number}{DISCOVERY}"
        try:
            connector = aiohttp.TCPConnector(ssl=context)
            async with aiohttp.ClientSession(connector=connector) as session, session.get(url) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, OSError):
            return False


async def _no_demand(_: str, name: str) -> float:
    raise KeyError(name)


@pytest.fixture
def cluster(proxy_ca: FrontProxy) -> FakeApi:
    api = FakeApi()
    data = {"requestheader-client-ca-file": proxy_ca.ca_pem.decode(), "requestheader-allowed-names": '["proxy"]'}
    api.put(TRUST, {"kind": "ConfigMap", "metadata": {}, "data": data})
    return api


@pytest.fixture
def client(proxy_ca: FrontProxy, tmp_path: Path) -> tuple[str, str]:
    return write(tmp_path, "client", *proxy_ca.sign("proxy"))


@pytest.fixture
async def served(cluster: FakeApi) -> AsyncIterator[Served]:
    tasks = Tasks()
    served = Served(cluster, tasks)
    assert await served.api.try_step() == CHECK_SECONDS
    yield served
    await served.api.close()
    await tasks.stop()


async def test_a_rotated_ca_is_trusted_and_the_one_before_it_is_not(
    cluster: FakeApi, served: Served, client: tuple[str, str], tmp_path: Path
) -> None:
    assert await served.can_ask(client)
    rotated = FrontProxy()
    cluster.objects[TRUST]["data"]["requestheader-client-ca-file"] = rotated.ca_pem.decode()
    await served.api.try_step()
    assert not await served.can_ask(client)
    assert await served.can_ask(write(tmp_path, "new", *rotated.sign("proxy")))


async def test_when_the_served_certificate_ends_is_told_again_only_with_another_one(
    cluster: FakeApi, served: Served
) -> None:
    (ends,) = served.expirations
    assert ends == pytest.approx((NOW + timedelta(days=LIFE_DAYS)).timestamp(), abs=1)
    await served.api.try_step()
    assert served.expirations == [ends]
    cluster.objects[SECRET]["data"]["tls.crt"] = "bm9uc2Vuc2U="
    await served.api.try_step()
    assert len(served.expirations) == 2


@pytest.mark.parametrize("key", ["requestheader-client-ca-file", "requestheader-allowed-names"])
async def test_nonsense_about_the_front_proxy_has_everyone_refused_until_it_is_mended(
    cluster: FakeApi, served: Served, client: tuple[str, str], key: str, caplog: pytest.LogCaptureFixture
) -> None:
    data = cluster.objects[TRUST]["data"]
    good, data[key] = data[key], "nonsense"
    assert await served.api.try_step() == RETRY_SECONDS
    assert await served.api.try_step() == RETRY_SECONDS
    assert caplog.text.count("refuses everyone") == 1 and key in caplog.text
    assert not await served.can_ask(client)
    data[key] = good
    assert await served.api.try_step() == CHECK_SECONDS
    assert await served.can_ask(client)


async def test_an_api_server_that_does_not_answer_changes_nobodys_trust(
    cluster: FakeApi, served: Served, client: tuple[str, str]
) -> None:
    cluster.is_down = True
    assert await served.api.try_step() == RETRY_SECONDS
    assert await served.can_ask(client)


async def test_a_secret_that_somebody_spoilt_is_made_anew(
    cluster: FakeApi, served: Served, client: tuple[str, str]
) -> None:
    for key in ("tls.key", "tls.crt", "ca.crt"):
        cluster.objects[SECRET]["data"][key] = "bm9uc2Vuc2U="
        assert await served.api.try_step() == CHECK_SECONDS
        assert cluster.objects[SECRET]["data"][key] != "bm9uc2Vuc2U="
        assert await served.can_ask(client)
