"""The Service in front of the gateways."""

from pagoda_operator.api import ModelDeployment
from pagoda_operator.kube.objects import Object
from pagoda_operator.objects.gateway import PORT
from pagoda_operator.objects.labels import build_metadata, selector_labels


def build_service(mdep: ModelDeployment) -> Object:
    wanted = mdep.spec.service
    port = {"name": "http", "port": PORT, "targetPort": "http", "protocol": "TCP", "appProtocol": "http"}
    spec: Object = {"type": wanted.type or "ClusterIP", "selector": selector_labels(mdep), "ports": [port]}
    further: Object = {
        "loadBalancerClass": wanted.load_balancer_class,
        "loadBalancerSourceRanges": wanted.load_balancer_source_ranges,
    }
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": build_metadata(mdep, annotations=wanted.annotations),
        "spec": spec | {key: value for key, value in further.items() if value},
    }
