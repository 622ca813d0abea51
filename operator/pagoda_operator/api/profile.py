"""Profiles: named sets of fields that whoever installs Pagoda writes into the chart, and a resource asks for by name.

A profile has the blocks of a spec that describe a cluster, and `download`, which a spec has not: a hub or a CA of an
author's choice would be told the Secret that `model.tokenSecretRef` names. What the resource says goes before its
profile, field by field, and a profile goes before the defaults.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field, ValidationError

from pagoda_operator.api.allowed import Allowed
from pagoda_operator.api.base import ApiModel, DnsName, Labels
from pagoda_operator.api.model_deployment import ModelDeployment
from pagoda_operator.api.pod import Image, Pod
from pagoda_operator.api.resources import Resources
from pagoda_operator.api.scheduling import Scheduling
from pagoda_operator.api.service import ServiceSettings
from pagoda_operator.api.spec import Interval, Ports

Blocks = dict[str, dict[str, Any]]
"""Blocks of a spec as it is written in YAML."""

CA_VOLUME = "pagoda-ca"
CA_FOLDER = f"/mnt/{CA_VOLUME}"
HTTPS_PORT = 443
_JOINED = ("nodeSelector", "labels", "annotations")
_JOINED_BY = {
    "env": ("name",),
    "volumes": ("name",),
    "volumeMounts": ("mountPath",),
    "pullSecrets": ("name",),
    "claims": ("name",),
    "tolerations": ("key", "operator", "value", "effect"),
}
_ADDED = ("envFrom", "egressPorts")
_URL = r"^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?$"


class ProfileError(ValueError):
    """The chart's profiles cannot be used. The message names the field, the value and the fix."""


class CaBundle(ApiModel):
    config_map_name: DnsName = Field(description="ConfigMap that each namespace with models has.")
    key: Annotated[str, Field(pattern=r"^[-_a-zA-Z0-9][-._a-zA-Z0-9]*$", max_length=253)] = "ca.crt"


class Download(ApiModel):
    endpoint: Annotated[str, Field(pattern=_URL, max_length=512)] | None = None
    https_proxy: Annotated[str, Field(pattern=_URL, max_length=512)] | None = None
    http_proxy: Annotated[str, Field(pattern=_URL, max_length=512)] | None = None
    no_proxy: Annotated[str, Field(max_length=2048)] | None = None
    ca_bundle: CaBundle | None = None


class ProfileMonitoring(ApiModel):
    labels: Labels | None = None
    interval: Interval | None = None


class ProfileNetworkPolicy(ApiModel):
    egress_ports: Ports | None = None


class Profile(ApiModel):
    image: Image = Image()
    pod: Pod = Pod()
    resources: Resources = Resources()
    scheduling: Scheduling = Scheduling()
    service: ServiceSettings = ServiceSettings()
    monitoring: ProfileMonitoring = ProfileMonitoring()
    network_policy: ProfileNetworkPolicy = ProfileNetworkPolicy()
    download: Download = Download()


@dataclass(frozen=True, slots=True)
class Profiles:
    """The blocks that every model has, and those of each profile."""

    defaults: Blocks = field(default_factory=dict)
    named: Mapping[str, Blocks] = field(default_factory=dict)

    def resolve(self, mdep: ModelDeployment) -> ModelDeployment:
        """Returns the resource with the defaults and its profile filled in.

        Raises ProfileError for a profile that is not known, or that does not go with the rest of the spec.

        NB: a value that is the field's default counts as not written, because the API server writes defaults.
        """
        name = mdep.spec.profile
        if name is not None and name not in self.named:
            known = ", ".join(sorted(self.named)) or "there is none"
            raise ProfileError(f"spec.profile: there is no profile {name}: set one of the chart's profiles ({known})")
        below = join(self.defaults, self.named[name] if name is not None else {})
        return _fill(mdep, below, f"profile {name}" if name is not None else "models.defaults") if below else mdep


def _fill(mdep: ModelDeployment, below: Blocks, said: str) -> ModelDeployment:
    written = mdep.spec.model_dump(by_alias=True, exclude_defaults=True)
    _refuse_to_hide(below.get("pod", {}), mdep.spec.pod, said)
    spec = {**written, **join(below, {key: written[key] for key in below if key in written})}
    try:
        return mdep.model_validate({**mdep.model_dump(by_alias=True, exclude={"spec"}), "spec": spec})
    except ValidationError as error:
        raise ProfileError(f"{said} does not go with this spec: {explain(error)}") from error


def _refuse_to_hide(below: dict[str, Any], pod: Pod, said: str) -> None:
    """Raises ProfileError where a volume of the author would take the place of one below, such as that of the CA."""
    names = {volume["name"] for volume in below.get("volumes", ())}
    paths = [f"{mount['mountPath']}/" for mount in below.get("volumeMounts", ())]
    for volume in pod.volumes or ():
        if volume.name in names:
            raise ProfileError(f"spec.pod.volumes: {volume.name} is a volume of {said}: choose another name")
    for mount in pod.volume_mounts or ():
        own = f"{mount.mount_path}/"
        if any(own.startswith(path) or path.startswith(own) for path in paths):
            raise ProfileError(f"spec.pod.volumeMounts: {said} mounts there too: choose another path than {own[:-1]}")


def join(below: Blocks, above: Blocks) -> Blocks:
    """Returns both, field by field; what `above` says goes first."""
    return {
        name: _join_block(below.get(name, {}), above.get(name, {}))
        for name in (*below, *(n for n in above if n not in below))
    }


def _join_block(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    both = {name: _join_field(name, below[name], above[name]) for name in below if name in above}
    return {**below, **above, **both}


def _join_field(name: str, below: Any, above: Any) -> Any:
    if name in _JOINED:
        return {**below, **above}
    if name in _ADDED:
        return [*below, *(item for item in above if item not in below)]
    if name not in _JOINED_BY:
        return above
    keys = _JOINED_BY[name]
    items = {tuple(item.get(key) for key in keys): item for item in (*below, *above)}
    return list(items.values())


def read_profile(name: str, raw: Any) -> Blocks:
    """Returns the blocks of one profile. Raises ProfileError."""
    try:
        found = Profile.model_validate(raw)
        blocks: Blocks = found.model_dump(by_alias=True, exclude_unset=True, exclude={"download"})
        blocks = join(_download_blocks(found.download), blocks)
        _try(blocks)
    except ValidationError as error:
        raise ProfileError(f"{name}: {explain(error)}") from error
    return {key: value for key, value in blocks.items() if value}


def read_profiles(raw: Any) -> dict[str, Blocks]:
    """Returns the profiles by their names. Raises ProfileError."""
    if not isinstance(raw, dict):
        raise ProfileError(f"profiles: {raw!r:.100} is no map: give names with their fields")
    return {name: read_profile(f"profiles.{name}", fields) for name, fields in raw.items()}


def read_allowed(raw: Any) -> Allowed:
    """Raises ProfileError."""
    try:
        return Allowed.model_validate(raw)
    except ValidationError as error:
        raise ProfileError(f"models.allowed.{explain(error)}") from error


def _try(blocks: Blocks) -> None:
    """Raises ValidationError where no resource could have these blocks."""
    ranks = blocks.get("resources", {}).get("gpus") or 1
    spec = {"model": {"uri": "hf://a/b"}, "engine": {"tensorParallel": ranks}, **blocks}
    ModelDeployment.model_validate(
        {"apiVersion": "pagoda.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": "m"}, "spec": spec}
    )


def _download_blocks(download: Download) -> Blocks:
    """Returns the variables, the volume and the ports that downloads in such a cluster need."""
    values = {
        "HF_ENDPOINT": download.endpoint,
        "HTTPS_PROXY": download.https_proxy,
        "HTTP_PROXY": download.http_proxy,
        "NO_PROXY": download.no_proxy,
        "SSL_CERT_FILE": f"{CA_FOLDER}/{download.ca_bundle.key}" if download.ca_bundle else None,
    }
    pod: dict[str, Any] = {"env": [{"name": name, "value": value} for name, value in values.items() if value]}
    if download.ca_bundle:
        pod["volumes"] = [{"name": CA_VOLUME, "configMap": {"name": download.ca_bundle.config_map_name}}]
        pod["volumeMounts"] = [{"name": CA_VOLUME, "mountPath": CA_FOLDER, "readOnly": True}]
    ports = {_port_of(url) for url in (download.endpoint, download.https_proxy, download.http_proxy) if url}
    blocks: Blocks = {"pod": pod} if pod["env"] else {}
    return blocks | ({"networkPolicy": {"egressPorts": sorted(ports - {HTTPS_PORT})}} if ports - {HTTPS_PORT} else {})


def _port_of(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or (HTTPS_PORT if parts.scheme == "https" else 80)


def explain(error: ValidationError) -> str:
    """Returns the first error in one line: the field, what is wrong, the value."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    text = first["msg"].removeprefix("Value error, ")
    given = f" (got {first['input']!r:.100})" if isinstance(first["input"], str | int | float) else ""
    return f"{where}: {text}{given}" if where else text
