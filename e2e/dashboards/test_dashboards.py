"""A person opens the dashboards: every panel shows figures; and every alert reads series that exist.

Prometheus scrapes as the Prometheus operator would by our PodMonitor and ServiceMonitor. With CLUSTER=current,
PROMETHEUS_URL is a Prometheus that scrapes that cluster already.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pagoda_operator.api import ModelDeployment
from pagoda_operator.objects.podmonitor import build_podmonitor
from pagoda_operator.objects.prometheusrule import build_prometheusrule

from .expressions import Expression, read_dashboards, read_rules
from .prometheus import Prometheus
from .scraping import build_config

pytestmark = pytest.mark.full
E2E = Path(__file__).parents[1]
SYSTEM = "pagoda-system"
CHART = os.environ.get("CHART", "helm/pagoda")
NAME = "shown"
ADDRESS = "192.0.2.1:9090"
PART = re.compile(r"_(bucket|sum|count|total)$")
"""What a series' name has more than its family's. NB: OpenMetrics declares a counter without its `_total`."""
NAMED = re.compile('__name__="([^"]+)"')
TOO_LARGE_BYTES = 5 * 1024 * 1024
"""More than the gateway takes: a refusal that needs no load."""


@pytest.fixture
def shown(namespace: Any, wait_for: Any) -> Any:
    """A namespace with a ready, autoscaled model in it."""
    namespace.apply(NAME, autoscaling={"minReplicas": 1, "maxReplicas": 2})
    namespace.wait_ready(NAME)
    wait_for(
        lambda: namespace.condition(NAME, "Scaling")["status"] == "True",
        60,
        lambda: namespace.kubectl("describe", "hpa"),
    )
    return namespace


def model(namespace: Any) -> ModelDeployment:
    return ModelDeployment.model_validate({**namespace.model(NAME), "status": {}})


def chart_object(cluster: Any, kind: str) -> Any:
    """One of the chart's own monitoring objects."""
    rendered = cluster.helm(
        *("template", "pagoda", CHART, "--namespace", SYSTEM, "--show-only", "templates/monitoring.yaml"),
        *("--set", "serviceMonitor.enabled=true,prometheusRule.enabled=true"),
    )
    return next(found for found in yaml.safe_load_all(rendered) if found["kind"] == kind)


@pytest.fixture
def prometheus(shown: Any, tmp_path: Path, wait_for: Any) -> Iterator[Prometheus]:
    cluster = shown.cluster
    if not cluster.enter:
        if "PROMETHEUS_URL" not in os.environ:
            pytest.skip("CLUSTER=current: set PROMETHEUS_URL to a Prometheus that scrapes this cluster")
        yield Prometheus(os.environ["PROMETHEUS_URL"], cluster.run)
        return
    if "/prometheus" not in cluster.run("sh", "-c", "command -v prometheus || true"):
        pytest.fail("there is no prometheus: run e2e/cluster/build.sh full")
    kubeconfig = cluster.run("sh", "-c", "echo $KUBECONFIG").strip()
    monitors = [build_podmonitor(model(shown)), chart_object(cluster, "ServiceMonitor")]
    config = build_config(monitors, kubeconfig=kubeconfig, interval_seconds=2)
    (tmp_path / "prometheus.json").write_text(json.dumps(config))  # JSON is YAML
    cluster.run("promtool", "check", "config", str(tmp_path / "prometheus.json"))
    command = ["prometheus", f"--config.file={tmp_path}/prometheus.json", f"--storage.tsdb.path={tmp_path}/data"]
    command += [f"--web.listen-address={ADDRESS}", "--web.enable-lifecycle", "--log.level=warn"]
    with (tmp_path / "log").open("w") as log, subprocess.Popen([*cluster.enter, *command], stdout=log, stderr=log):
        running = Prometheus(f"http://{ADDRESS}", cluster.run)
        try:
            wait_for(running.answers, 30, (tmp_path / "log").read_text)
            yield running
        finally:
            cluster.run("curl", "-sS", "--noproxy", "*", "-X", "POST", f"http://{ADDRESS}/-/quit", check=False)


def send_too_much(namespace: Any, url: str, body: Path) -> None:
    header = ("-H", "Content-Type: application/json")
    send = ("curl", "-sS", "-o", "/dev/null", "--noproxy", "*", *header, "--data-binary", f"@{body}")
    namespace.cluster.run(*send, f"{url}/chat/completions", check=False)


def missing(prometheus: Prometheus, namespace: Any, expressions: list[Expression]) -> dict[str, str]:
    """The expressions without a number, by where they are."""
    ready = {found.where: found.with_values(namespace=namespace.name, model=NAME) for found in expressions}
    return {where: text for where, text in ready.items() if not prometheus.has_data(text)}


def test_every_panel_shows_figures_and_every_alert_reads_series_that_exist(
    shown: Any, prometheus: Prometheus, wait_for: Any, tmp_path: Path
) -> None:
    service = json.loads(shown.kubectl("get", "service", NAME, "-o", "json"))["spec"]
    url = f"http://{service['clusterIP']}:{service['ports'][0]['port']}/v1"
    body = tmp_path / "body"
    body.write_bytes(b"x" * TOO_LARGE_BYTES)
    panels = [found for found in read_dashboards() if not (found.needs_gpu_exporter or found.needs_an_event)]
    load = [sys.executable, str(E2E / "load.py"), url, "--model", NAME, "--streams", "4", "--seconds", "60"]
    with subprocess.Popen([*shown.cluster.enter, *load], stdout=subprocess.PIPE, text=True) as traffic:

        def all_shown() -> bool:
            send_too_much(shown, url, body)
            return not missing(prometheus, shown, panels)

        wait_for(all_shown, 90, lambda: json.dumps(missing(prometheus, shown, panels), indent=1))
        out, _ = traffic.communicate(timeout=120)
    assert json.loads(out)["whole"] > 0, out

    rule = build_prometheusrule(model(shown))
    assert rule is not None
    operators = chart_object(shown.cluster, "PrometheusRule")
    alerts = read_rules([*rule["spec"]["groups"], *operators["spec"]["groups"]])
    read = {selector for alert in alerts for selector in prometheus.selectors(alert.text)}
    assert {name for alert in alerts for name in alert.names()} == {NAMED.findall(selector)[0] for selector in read}
    wait_for(lambda: all(map(prometheus.has_data, read)), 30, lambda: [s for s in read if not prometheus.has_data(s)])

    declared = prometheus.names()
    for found in (*panels, *alerts):
        for name in found.names() - {"ALERTS"}:
            assert {name, PART.sub("", name)} & declared, f"{found.where}: no page declares {name}"
