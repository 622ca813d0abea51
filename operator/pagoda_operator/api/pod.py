"""What the pods of a ModelDeployment get beside their containers' own settings: labels, variables, volumes, images.

Variables and volumes reach the containers `fetch` and `server`, never the gateway, which holds the API keys. Volumes
are of kinds that an author may mount anyhow: nothing of the node, no token of a ServiceAccount.
"""

from typing import Annotated, Literal

from pydantic import Field

from pagoda_operator.api.base import Annotations, ApiModel, DnsName, Labels, Quantity, UniqueBy

IMAGE_PATTERN = r"^[a-z0-9][A-Za-z0-9._:/-]*(@sha256:[0-9a-f]{64})?$"
MOUNT_PATTERN = r"^/mnt(/[A-Za-z0-9_-][A-Za-z0-9._-]*){1,8}$"
"""Below /mnt, so that no mount hides a program, a library, the model or a key."""
_FIELD_PATH = r"^(metadata|spec|status)\.[A-Za-z0-9.'\[\]/_-]+$"
_ENV_NAME = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=128)]
_KEY = Annotated[str, Field(pattern=r"^\.?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$", max_length=253)]
_PATH = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$", max_length=253)]


class LocalSecret(ApiModel):
    name: DnsName = Field(description="Name of a Secret in the same namespace.")


class LocalConfigMap(ApiModel):
    name: DnsName = Field(description="Name of a ConfigMap in the same namespace.")


class Image(ApiModel):
    server: Annotated[str, Field(pattern=IMAGE_PATTERN, max_length=512)] | None = Field(
        default=None,
        description="Image of the server, e.g. registry.example.com/pagoda-server@sha256:... Defaults to the chart's. "
        "The chart's models.allowed.images lists those that are allowed.",
    )
    pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = Field(
        default=None, description="Pull policy of the pods' images. Defaults to the chart's."
    )
    pull_secrets: Annotated[list[LocalSecret], Field(max_length=8), UniqueBy("name")] | None = Field(
        default=None, description="Secrets to pull the images with, beside those of the chart's imagePullSecrets."
    )


class SecretKey(ApiModel):
    name: DnsName = Field(description="Name of a Secret in the same namespace.")
    key: _KEY = Field(description="Key of the Secret.")
    optional: bool | None = Field(default=None, description="Whether the pods start without it.")


class ConfigMapKey(ApiModel):
    name: DnsName = Field(description="Name of a ConfigMap in the same namespace.")
    key: _KEY = Field(description="Key of the ConfigMap.")
    optional: bool | None = Field(default=None, description="Whether the pods start without it.")


class PodField(ApiModel):
    field_path: Annotated[str, Field(pattern=r"^(metadata|spec|status)\.[A-Za-z0-9.'\[\]/_-]+$", max_length=253)] = (
        Field(description="Path of the field, e.g. status.podIP.")
    )


class ValueSource(ApiModel):
    secret_key_ref: SecretKey | None = Field(default=None, description="A key of a Secret.")
    config_map_key_ref: ConfigMapKey | None = Field(default=None, description="A key of a ConfigMap.")
    field_ref: PodField | None = Field(default=None, description="A field of the pod.")


class EnvVar(ApiModel):
    name: _ENV_NAME = Field(description="Name of the variable.")
    value: Annotated[str, Field(max_length=4096)] | None = Field(default=None, description="Its value.")
    value_from: ValueSource | None = Field(default=None, description="Where its value comes from.")


class EnvFrom(ApiModel):
    prefix: _ENV_NAME | None = Field(default=None, description="Put before each key.")
    secret_ref: LocalSecret | None = Field(default=None, description="A Secret, each key of which is a variable.")
    config_map_ref: LocalConfigMap | None = Field(
        default=None, description="A ConfigMap, each key of which is a variable."
    )


class KeyToPath(ApiModel):
    key: _KEY = Field(description="Key to take.")
    path: _PATH = Field(description="File to make of it.")


_ITEMS = Annotated[list[KeyToPath], Field(max_length=32)]


class ConfigMapVolume(ApiModel):
    name: DnsName = Field(description="Name of a ConfigMap in the same namespace.")
    items: _ITEMS | None = Field(default=None, description="Keys to take. Defaults to all.")
    optional: bool | None = Field(default=None, description="Whether the pods start without it.")


class SecretVolume(ApiModel):
    secret_name: DnsName = Field(description="Name of a Secret in the same namespace.")
    items: _ITEMS | None = Field(default=None, description="Keys to take. Defaults to all.")
    optional: bool | None = Field(default=None, description="Whether the pods start without it.")


class ClaimVolume(ApiModel):
    claim_name: DnsName = Field(description="Name of a PersistentVolumeClaim in the same namespace.")
    read_only: bool | None = Field(default=None, description="Mounts it read-only.")


class EmptyDirVolume(ApiModel):
    size_limit: Quantity = Field(description="Maximum size, e.g. 10Gi.")
    medium: Literal["Memory"] | None = Field(
        default=None, description="Memory keeps it in memory. Defaults to the node's disk."
    )


class ProjectedSecret(ApiModel):
    name: DnsName = Field(description="Name of a Secret in the same namespace.")
    items: _ITEMS | None = Field(default=None, description="Keys to take. Defaults to all.")
    optional: bool | None = Field(default=None, description="Whether the pods start without it.")


class ProjectedSource(ApiModel):
    config_map: ConfigMapVolume | None = Field(default=None, description="A ConfigMap.")
    secret: ProjectedSecret | None = Field(default=None, description="A Secret.")


class ProjectedVolume(ApiModel):
    sources: Annotated[list[ProjectedSource], Field(min_length=1, max_length=8)] = Field(
        description="What is put into one folder."
    )


class Volume(ApiModel):
    name: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)] = Field(
        description="Name of the volume."
    )
    config_map: ConfigMapVolume | None = Field(default=None, description="A ConfigMap as files.")
    secret: SecretVolume | None = Field(default=None, description="A Secret as files.")
    persistent_volume_claim: ClaimVolume | None = Field(default=None, description="A claim of yours.")
    empty_dir: EmptyDirVolume | None = Field(default=None, description="A folder that lives as long as the pod.")
    projected: ProjectedVolume | None = Field(default=None, description="ConfigMaps and Secrets in one folder.")


class VolumeMount(ApiModel):
    name: Annotated[str, Field(min_length=1, max_length=63)] = Field(description="Name of a volume of pod.volumes.")
    mount_path: Annotated[str, Field(pattern=MOUNT_PATTERN, max_length=253)] = Field(
        description="Where it is mounted: a folder below /mnt."
    )
    sub_path: _PATH | None = Field(default=None, description="Path within the volume.")
    read_only: bool | None = Field(default=None, description="Mounts it read-only.")


class Pod(ApiModel):
    labels: Labels | None = Field(
        default=None, description="Labels of the pods. The chart's models.allowed.podLabels lists those allowed."
    )
    annotations: Annotations | None = Field(
        default=None,
        description="Annotations of the pods. The chart's models.allowed.podAnnotations lists those allowed.",
    )
    env: Annotated[list[EnvVar], Field(max_length=64), UniqueBy("name")] | None = Field(
        default=None,
        description="Variables of the containers fetch and server, not of the gateway. The chart's "
        "models.allowed.env lists the names that are allowed.",
    )
    env_from: Annotated[list[EnvFrom], Field(max_length=8)] | None = Field(
        default=None,
        description="Variables of the same containers, from Secrets and ConfigMaps that the chart's "
        "models.allowed.sources lists.",
    )
    service_account_name: DnsName | None = Field(
        default=None,
        description="ServiceAccount of the pods; its token is not mounted. The chart's models.allowed.serviceAccounts "
        "lists those allowed. Defaults to the namespace's default one.",
    )
    volumes: Annotated[list[Volume], Field(max_length=16), UniqueBy("name")] | None = Field(
        default=None,
        description="Further volumes. The chart's models.allowed.sources lists the Secrets and ConfigMaps that are "
        "allowed.",
    )
    volume_mounts: Annotated[list[VolumeMount], Field(max_length=16), UniqueBy("mount_path")] | None = Field(
        default=None, description="Where the containers fetch and server see these volumes."
    )
    startup_seconds: Annotated[int, Field(ge=10, le=86_400)] | None = Field(
        default=None,
        description="How long the gateway may take to start before it is restarted. Loading the model does not count. "
        "Defaults to 120.",
    )
