"""The claim that keeps the weights, when `model.cache.pvc` asks for one."""

from pagoda_operator.api import ModelDeployment
from pagoda_operator.kube.objects import Object
from pagoda_operator.objects.labels import build_metadata, cache_claim_name


def build_pvc(mdep: ModelDeployment) -> Object | None:
    cache = mdep.spec.model.cache
    if cache is None or cache.pvc is None:
        return None
    spec: Object = {
        "accessModes": [cache.pvc.access_mode],
        "resources": {"requests": {"storage": cache.pvc.size}},
    }
    if cache.pvc.storage_class_name:
        spec["storageClassName"] = cache.pvc.storage_class_name
    metadata = build_metadata(mdep, name=cache_claim_name(mdep))
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}
