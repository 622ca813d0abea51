"""The PrometheusRule: the alerts that mean work for a person, on our own metrics alone."""

from pagoda_operator.api import ModelDeployment
from pagoda_operator.kube.objects import Object
from pagoda_operator.objects.alerts.capacity import find_capacity_alerts
from pagoda_operator.objects.alerts.objectives import build_objective_rules
from pagoda_operator.objects.alerts.scraping import find_scraping_alerts
from pagoda_operator.objects.alerts.state import find_state_alerts
from pagoda_operator.objects.alerts.traffic import find_traffic_alerts
from pagoda_operator.objects.labels import build_metadata

KIND = "monitoring.coreos.com/PrometheusRule"


def build_prometheusrule(mdep: ModelDeployment) -> Object | None:
    if not mdep.spec.monitoring.enabled:
        return None
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": build_metadata(mdep, further_labels=mdep.spec.monitoring.labels),
        "spec": {"groups": _groups(mdep)},
    }


def _groups(mdep: ModelDeployment) -> list[Object]:
    """Returns the alerts of every model, and in a group of their own the rules of its objectives, if it has any."""
    finders = (find_state_alerts, find_traffic_alerts, find_capacity_alerts, find_scraping_alerts)
    name = f"pagoda.{mdep.namespace}.{mdep.name}"
    groups: list[Object] = [{"name": name, "rules": [alert.build() for find in finders for alert in find(mdep)]}]
    if rules := build_objective_rules(mdep):
        groups.append({"name": f"{name}.objectives", "rules": rules})
    return groups
