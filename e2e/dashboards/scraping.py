"""Turns a PodMonitor or a ServiceMonitor into what the Prometheus operator would make of it: a scrape job.

Only the fields that our objects use are known; another one stops the story rather than be ignored.
"""

import re
from typing import Any

Object = dict[str, Any]
SELECTOR = {"matchLabels"}
ENDPOINT = {"port", "path", "interval", "scrapeTimeout", "honorLabels"}


def build_config(monitors: list[Object], *, kubeconfig: str, interval_seconds: int) -> Object:
    every = f"{interval_seconds}s"
    jobs = [_job(monitor, kubeconfig, every) for monitor in monitors]
    return {"global": {"scrape_interval": every, "scrape_timeout": every}, "scrape_configs": jobs}


def _job(monitor: Object, kubeconfig: str, every: str) -> Object:
    kind, meta = monitor["kind"], monitor["metadata"]
    (endpoint,) = monitor["spec"]["podMetricsEndpoints" if kind == "PodMonitor" else "endpoints"]
    assert set(endpoint) <= ENDPOINT and set(monitor["spec"]["selector"]) <= SELECTOR
    role, relabel = ("pod", _relabel_pods) if kind == "PodMonitor" else ("endpointslice", _relabel_services)
    discovery = {"role": role, "kubeconfig_file": kubeconfig, "namespaces": {"names": [meta["namespace"]]}}
    return {
        "job_name": f"{kind[0].lower()}{kind[1:]}/{meta['namespace']}/{meta['name']}/0",
        "honor_labels": endpoint.get("honorLabels", False),
        "metrics_path": endpoint.get("path", "/metrics"),
        "scrape_interval": every,
        "kubernetes_sd_configs": [discovery],
        "relabel_configs": relabel(monitor, endpoint),
    }


def _relabel_pods(monitor: Object, endpoint: Object) -> list[Object]:
    name = f"{monitor['metadata']['namespace']}/{monitor['metadata']['name']}"
    return [
        {"action": "drop", "source_labels": ["__meta_kubernetes_pod_phase"], "regex": "(Failed|Succeeded)"},
        *_keep_selected(monitor, "pod"),
        _keep("__meta_kubernetes_pod_container_port_name", endpoint["port"]),
        _copy("__meta_kubernetes_namespace", "namespace"),
        _copy("__meta_kubernetes_pod_container_name", "container"),
        _copy("__meta_kubernetes_pod_name", "pod"),
        *_set(job=name, endpoint=endpoint["port"]),
    ]


def _relabel_services(monitor: Object, endpoint: Object) -> list[Object]:
    return [
        *_keep_selected(monitor, "service"),
        _keep("__meta_kubernetes_endpointslice_port_name", endpoint["port"]),
        _copy("__meta_kubernetes_namespace", "namespace"),
        _copy("__meta_kubernetes_service_name", "service"),
        _copy("__meta_kubernetes_pod_name", "pod"),
        _copy("__meta_kubernetes_pod_container_name", "container"),
        _copy("__meta_kubernetes_service_name", "job"),
        *_set(endpoint=endpoint["port"]),
    ]


def _keep_selected(monitor: Object, what: str) -> list[Object]:
    labels = monitor["spec"]["selector"]["matchLabels"]
    return [_keep(f"__meta_kubernetes_{what}_label_{_sanitize(key)}", value) for key, value in labels.items()]


def _sanitize(label: str) -> str:
    return re.sub(r"\W", "_", label)


def _keep(label: str, value: str) -> Object:
    return {"action": "keep", "source_labels": [label], "regex": re.escape(value)}


def _copy(source: str, target: str) -> Object:
    return {"source_labels": [source], "target_label": target}


def _set(**labels: str) -> list[Object]:
    return [{"target_label": label, "replacement": value} for label, value in labels.items()]
