"""What a file says that has no meaning on this machine: said once, so that nobody waits for it to act."""

from collections.abc import Iterator

from pydantic import BaseModel

from pagoda_cli.local.spec_file import SpecFile
from pagoda_operator.api import Spec

FOLDER = "models are kept in ~/.cache/pagoda/models"
BATCH_FOLDER = "files are kept in ~/.local/share/pagoda/batch"


def list_unused(file: SpecFile) -> list[str]:
    """Returns a line for each part of the file that is not used here, with what is instead."""
    lines = list(_list_fields(file.deployment.spec))
    return [*lines, *(f"a document of kind {kind}" for kind in file.others)]


def _list_fields(spec: Spec) -> Iterator[str]:
    if spec.ingress is not None:
        yield f"ingress ({spec.ingress.host}): the endpoint is the one that Ready names"
    if spec.autoscaling is not None:
        scaling = spec.autoscaling
        count = f"{scaling.min_replicas} to {scaling.max_replicas} replicas"
        yield f"autoscaling ({count}): minReplicas run, {scaling.min_replicas}"
    if spec.replicas == 0:
        yield "replicas: 0: one runs"
    if spec.model.cache is not None and spec.model.cache.model_fields_set:
        yield f"model.cache ({_list_set(spec.model.cache)}): {FOLDER}"
    if spec.batch is not None and spec.batch.s3 is None:
        claim = f" (existingClaim {spec.batch.existing_claim})" if spec.batch.existing_claim else ""
        yield f"batch{claim}: {BATCH_FOLDER}"
    if spec.scheduling.model_fields_set:
        yield f"scheduling ({_list_set(spec.scheduling)}): all runs on this machine"
    yield from _list_resources(spec)
    yield from _list_pod(spec)
    for name, part in (("monitoring", spec.monitoring), ("disruptionBudget", spec.disruption_budget)):
        if part.model_fields_set:
            yield f"{name}: there is no cluster that would act on it"
    if spec.network_policy.model_fields_set:
        yield "networkPolicy: --host says who can reach the endpoint"
    rollout = spec.rollout.model_fields_set - {"drain_seconds"}
    if rollout:
        yield f"rollout ({', '.join(sorted(_to_camel(spec.rollout, rollout)))}): all replicas change at once"


def _list_resources(spec: Spec) -> Iterator[str]:
    limits = spec.resources.model_fields_set - {"gpus"}
    if limits:
        yield f"resources ({', '.join(sorted(_to_camel(spec.resources, limits)))}): a process here is not limited"


def _list_pod(spec: Spec) -> Iterator[str]:
    if spec.profile is not None:
        yield f"profile ({spec.profile}): profiles are in the chart of a cluster"
    for name, part in (("image", spec.image), ("service", spec.service), ("pod", spec.pod)):
        if part.model_fields_set:
            yield f"{name} ({_list_set(part)}): no pod runs here"


def _list_set(part: BaseModel) -> str:
    return ", ".join(sorted(_to_camel(part, part.model_fields_set)))


def _to_camel(part: BaseModel, names: set[str]) -> Iterator[str]:
    fields = type(part).model_fields
    return (fields[name].alias or name for name in names)
