"""The Ingress, in the dialect of the controller behind its class. Streams must be neither buffered nor cut.

Requests are buffered, as nginx does by itself: only a whole request can be tried at another replica, and whoever sends
slowly holds up nginx alone. `max-fails` is 0: readiness says which replicas there are, and a refusal is no failure.

NB: the charts of both controllers name their class `nginx`; only `IngressClass.spec.controller` tells them apart."""

from pagoda_operator.api import ModelDeployment
from pagoda_operator.kube.objects import Object
from pagoda_operator.objects.batch import find_upload_mebibytes
from pagoda_operator.objects.gateway import PORT
from pagoda_operator.objects.labels import build_metadata

BODY_MEBIBYTES = 64
BODY_SIZE = f"{BODY_MEBIBYTES}m"
RETRIED = "error timeout http_503 non_idempotent"
"""A refusal is tried at another replica, a POST too: no answer has begun, and to ask a model twice harms nobody."""
RETRY_SECONDS = 10
"""From the request's arrival: a replica that goes away refuses at once, one that is overloaded after a long wait."""
RETRY_TRIES = 3

F5_ANNOTATIONS = {
    "nginx.org/proxy-buffering": "false",
    "nginx.org/proxy-read-timeout": "3600s",
    "nginx.org/proxy-send-timeout": "3600s",
    "nginx.org/client-max-body-size": BODY_SIZE,
    "nginx.org/lb-method": "least_conn",
    "nginx.org/max-fails": "0",
    "nginx.org/proxy-next-upstream": RETRIED,
    "nginx.org/proxy-next-upstream-tries": str(RETRY_TRIES),
    "nginx.org/proxy-next-upstream-timeout": f"{RETRY_SECONDS}s",
}
INGRESS_NGINX_ANNOTATIONS = {
    "nginx.ingress.kubernetes.io/proxy-buffering": "off",
    "nginx.ingress.kubernetes.io/proxy-read-timeout": "3600",
    "nginx.ingress.kubernetes.io/proxy-send-timeout": "3600",
    "nginx.ingress.kubernetes.io/proxy-body-size": BODY_SIZE,
    "nginx.ingress.kubernetes.io/proxy-http-version": "1.1",
    "nginx.ingress.kubernetes.io/proxy-next-upstream": RETRIED,
    "nginx.ingress.kubernetes.io/proxy-next-upstream-tries": str(RETRY_TRIES),
    "nginx.ingress.kubernetes.io/proxy-next-upstream-timeout": str(RETRY_SECONDS),
}
BODY_SIZE_KEYS = ("nginx.org/client-max-body-size", "nginx.ingress.kubernetes.io/proxy-body-size")
DIALECTS = {
    "nginx.org/ingress-controller": F5_ANNOTATIONS,
    "k8s.io/ingress-nginx": INGRESS_NGINX_ANNOTATIONS,
}


def build_ingress(mdep: ModelDeployment, *, class_name: str, controller: str) -> Object | None:
    wanted = mdep.spec.ingress
    if wanted is None:
        return None
    annotations = {**_dialect(mdep, controller), **(wanted.annotations or {})}
    backend = {"service": {"name": mdep.name, "port": {"number": PORT}}}
    paths = [{"path": wanted.path, "pathType": "Prefix", "backend": backend}]
    spec: Object = {"ingressClassName": class_name, "rules": [{"host": wanted.host, "http": {"paths": paths}}]}
    if wanted.tls_secret_name:
        spec["tls"] = [{"hosts": [wanted.host], "secretName": wanted.tls_secret_name}]
    metadata = build_metadata(mdep, annotations=annotations)
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata, "spec": spec}


def _dialect(mdep: ModelDeployment, controller: str) -> dict[str, str]:
    """Returns the controller's annotations; where there are batches, their files go through."""
    size = f"{max(BODY_MEBIBYTES, find_upload_mebibytes(mdep))}m"
    found = DIALECTS.get(controller, {})
    return {key: size if key in BODY_SIZE_KEYS else value for key, value in found.items()}
