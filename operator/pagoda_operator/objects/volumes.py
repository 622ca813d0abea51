"""The volumes of a model's pod, and who mounts which."""

from pagoda_operator.api import ModelDeployment
from pagoda_operator.kube.objects import Object
from pagoda_operator.objects.batch import build_batch_volumes
from pagoda_operator.objects.labels import cache_claim_name
from pagoda_operator.objects.resources import models_size_limit, scratch_size
from pagoda_operator.objects.settings import BuildSettings

MODELS_PATH = "/models"
RUN_PATH = "/run/pagoda"
API_KEYS_PATH = "/etc/pagoda/api-keys"
SHARED_MEMORY = "2Gi"


def build_volumes(mdep: ModelDeployment, settings: BuildSettings) -> list[Object]:
    volumes: list[Object] = [
        {"name": "run", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}},
        {"name": "tmp", "emptyDir": {"sizeLimit": scratch_size(mdep)}},
        {"name": "models", **_models_source(mdep, models_size_limit(mdep, settings))},
    ]
    if (size := shared_memory_size(mdep)) is not None:
        volumes.append({"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": size}})
    if mdep.spec.auth is not None:
        secret = mdep.spec.auth.api_keys_secret_ref.name
        volumes.append({"name": "api-keys", "secret": {"secretName": secret, "defaultMode": 0o440}})
    return volumes + build_batch_volumes(mdep) + [volume.to_object() for volume in mdep.spec.pod.volumes or []]


def shared_memory_size(mdep: ModelDeployment) -> str | None:
    """Returns the size of /dev/shm; None where the containers have the runtime's own."""
    return mdep.spec.resources.shared_memory or (SHARED_MEMORY if mdep.spec.gpus > 0 else None)


def build_further_mounts(mdep: ModelDeployment) -> list[Object]:
    return [mount.to_object() for mount in mdep.spec.pod.volume_mounts or []]


def build_models_mount(mdep: ModelDeployment, *, read_only: bool) -> Object:
    mount: Object = {"name": "models", "mountPath": MODELS_PATH}
    sub_path = _models_sub_path(mdep)
    if sub_path:
        mount["subPath"] = sub_path
    if read_only or _users_claim(mdep):
        mount["readOnly"] = True
    return mount


def build_scratch_mounts() -> list[Object]:
    return [{"name": "run", "mountPath": RUN_PATH}, {"name": "tmp", "mountPath": "/tmp"}]


def _users_claim(mdep: ModelDeployment) -> tuple[str, str] | None:
    """Returns the claim and path of a pvc:// model; None for another."""
    uri = mdep.spec.model.uri
    if not uri.startswith("pvc://"):
        return None
    claim, _, path = uri.removeprefix("pvc://").partition("/")
    return claim, path.strip("/")


def _models_sub_path(mdep: ModelDeployment) -> str:
    users = _users_claim(mdep)
    if users:
        return users[1]
    cache = mdep.spec.model.cache
    return mdep.name if cache is not None and cache.existing_claim else ""


def _models_source(mdep: ModelDeployment, size_limit: str | None) -> Object:
    users = _users_claim(mdep)
    if users:
        return {"persistentVolumeClaim": {"claimName": users[0], "readOnly": True}}
    cache = mdep.spec.model.cache
    if cache is not None and cache.existing_claim:
        return {"persistentVolumeClaim": {"claimName": cache.existing_claim}}
    if cache is not None and cache.pvc is not None:
        return {"persistentVolumeClaim": {"claimName": cache_claim_name(mdep)}}
    return {"emptyDir": {"sizeLimit": size_limit}}
