"""The Service in front of the gateways."""

from pagoda_operator.api import ModelDeployment
from pagoda_operator.kube.objects import Object
from pagoda_operator.objects.labels import build_metadata, selector_labels
from pagoda_operator.objects.pod import PORT


def build_service(mdep: ModelDeployment) -> Object:
    port = {"name": "http", "port": PORT, "targetPort": "http", "protocol": "TCP", "appProtocol": "http"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": build_metadata(mdep),
        "spec": {"type": "ClusterIP", "selector": selector_labels(mdep), "ports": [port]},
    }
