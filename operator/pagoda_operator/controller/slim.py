"""What is kept of an object in memory: what a plan reads of it, and nothing that is only large."""

from pagoda_operator.kube.objects import Object

ANNOTATION_LIMIT_CHARS = 1024
"""The maximum length of one annotation of an object that we do not write."""
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_POD_SPEC = ("nodeName", "priorityClassName", "schedulerName")
_CONTAINER = ("name", "image", "resources", "restartPolicy")
_NOT_OURS_TO_WRITE = ("Pod", "ModelDeployment")


def slim(obj: Object) -> Object:
    """Returns the object without what its writers remember, and a pod without what its Deployment says already."""
    kept = {**obj, "metadata": _slim_metadata(obj["kind"], obj["metadata"])}
    if obj["kind"] == "Pod":
        kept["spec"] = _slim_pod_spec(obj.get("spec") or {})
    return kept


def _slim_metadata(kind: str, metadata: Object) -> Object:
    kept = {key: value for key, value in metadata.items() if key not in ("managedFields", "annotations")}
    limit = ANNOTATION_LIMIT_CHARS if kind in _NOT_OURS_TO_WRITE else None
    annotations = {
        name: text
        for name, text in (metadata.get("annotations") or {}).items()
        if name != LAST_APPLIED and (limit is None or len(text) <= limit)
    }
    return {**kept, "annotations": annotations} if annotations else kept


def _slim_pod_spec(spec: Object) -> Object:
    kept: Object = {key: spec[key] for key in _POD_SPEC if key in spec}
    for group in ("initContainers", "containers"):
        if group in spec:
            kept[group] = [{key: c[key] for key in _CONTAINER if key in c} for c in spec[group]]
    return kept
