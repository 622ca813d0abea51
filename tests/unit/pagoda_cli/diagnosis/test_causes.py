"""What is wrong is named with its cause and the next step, and what is well is not."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from pagoda_cli.diagnosis.causes import GOOD, WAITING, find_causes
from pagoda_cli.diagnosis.cluster_causes import find_cluster_causes
from pagoda_cli.diagnosis.observed import Observed, Surroundings
from pagoda_operator.api.reasons import Reason
from tests.doubles.observed_models import (
    NOW,
    build_event,
    build_healthy,
    build_model,
    build_out_of_memory,
    build_pod,
    condition,
)


def only(seen: Observed) -> Any:
    (cause,) = find_causes(seen, NOW)
    return cause


def fails(reason: str, message: str, **spec: Any) -> Observed:
    return Observed(mdep=build_model(condition("Ready", "False", reason, message), spec=spec))


def test_nothing_is_wrong_with_a_model_that_serves() -> None:
    assert find_causes(build_healthy(), NOW) == ()


def test_a_trouble_that_three_conditions_name_is_said_once() -> None:
    cause = only(build_out_of_memory())
    assert (cause.reason, cause.is_wrong) == ("OutOfMemory", True)
    assert "allocating the cache" in cause.evidence[0], "the last line of the log"
    assert "exit code 137" in cause.evidence[0]
    assert "BackOff" in cause.evidence[1], "the last warning"
    assert cause.url.endswith("/troubleshooting.md#outofmemory")


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason not in GOOD])
def test_every_reason_but_the_good_ones_has_a_next_step_with_the_models_name(reason: Reason) -> None:
    cause = only(fails(reason, "as it is"))
    assert cause.steps
    assert any("chat" in step or "kubectl" in step for step in cause.steps)
    assert cause.is_wrong == (reason not in WAITING)


MISTAKES = [
    (
        fails("SecretNotFound", "the spec names the Secret keys, which does not exist", auth={}),
        "create secret generic keys --from-literal=TENANT=KEY",
    ),
    (
        fails("SecretNotFound", "the Secret hub, which", model={"uri": "hf://a/b", "tokenSecretRef": {"name": "hub"}}),
        "create secret generic hub --from-literal=token=TOKEN",
    ),
    (
        fails("SecretNotFound", "the Secret tls, which", ingress={"tlsSecretName": "tls"}),
        "create secret tls tls --cert=FILE --key=FILE",
    ),
    (
        fails("ConfigMissing", "fetch of p: couldn't find key token in Secret models/hub"),
        'patch secret hub -p \'{"stringData":{"token":"VALUE"}}\'',
    ),
    (fails("NoIngressClass", "there is no IngressClass nginx"), "kubectl get ingressclass"),
    (fails("NoStorageClass", "there is no StorageClass fast"), "kubectl get storageclass"),
    (fails("Unschedulable", "no node has enough nvidia.com/gpu"), "spec.resources.gpus"),
    (fails("Unschedulable", "no node has enough memory"), "lower spec.resources.memory"),
    (fails("Unschedulable", "no node matched"), "spec.scheduling"),
    (fails("ModelNotFound", "it is not on the hub"), "pagoda models check hf://org/model@main"),
    (fails("ImagePullFailed", "server of p: 401 unauthorized"), "imagePullSecrets"),
    (build_out_of_memory(), '{"spec":{"resources":{"memory":"32Gi"}}}'),
    (fails("InvalidSpec", "spec.engine: no"), "kubectl -n models edit mdep chat"),
]


@pytest.mark.parametrize(("seen", "step"), MISTAKES)
def test_a_mistake_has_the_command_or_the_field_that_mends_it(seen: Observed, step: str) -> None:
    assert any(step in found for found in only(seen).steps), only(seen).steps


def test_a_model_that_serves_while_its_new_revision_fails_is_not_well() -> None:
    seen = Observed(mdep=build_model(condition("Ready", "True", "RolloutFailing", "the new revision crashes")))
    cause = only(seen)
    assert cause.is_wrong
    assert any("apply the last file that worked" in step for step in cause.steps)


def test_a_start_goes_on_and_is_no_fault() -> None:
    seen = Observed(
        mdep=build_model(
            condition("Ready", "False", "Starting", "0 of 1"),
            condition("Scaling", "False", "MetricsMissing", "not measured yet"),
        )
    )
    assert [cause.is_wrong for cause in find_causes(seen, NOW)] == [False, False]


def test_a_missing_metric_of_a_model_that_serves_is_a_fault() -> None:
    seen = Observed(
        mdep=build_model(condition("Ready", "True", "Serving"), condition("Scaling", "False", "MetricsMissing", "x"))
    )
    assert only(seen).is_wrong


def test_a_resource_that_the_operator_never_saw_is_a_fault_after_a_while() -> None:
    mdep = build_model()
    assert only(Observed(mdep=mdep)).reason == "NotSeen"
    assert only(Observed(mdep=mdep)).is_wrong
    mdep["metadata"]["creationTimestamp"] = (NOW - timedelta(seconds=5)).isoformat()
    assert not only(Observed(mdep=mdep)).is_wrong


def test_a_secret_that_is_gone_is_a_fault_of_a_model_that_still_serves() -> None:
    seen = replace(build_healthy(), missing_secrets=("spec.ingress.tlsSecretName=site-tls",))
    cause = only(seen)
    assert cause.is_wrong
    assert "spec.ingress.tlsSecretName names the Secret site-tls" in cause.message


def test_refused_keys_are_told_and_are_no_fault_of_the_model() -> None:
    cause = only(replace(build_healthy(), refused_keys=7))
    assert not cause.is_wrong
    assert "7 requests were refused with 401" in cause.message


def test_pods_that_are_ready_are_no_evidence() -> None:
    seen = fails("Unschedulable", "no room")
    waiting = build_pod("chat-bbbb-1", ready=False, containerStatuses=[])
    waiting["status"]["conditions"] += [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]
    waiting["status"]["conditions"][-1]["message"] = "0/3 nodes are available"
    event = build_event("FailedScheduling", "0/3 nodes", about="chat-bbbb-1")
    seen = replace(seen, pods=(build_pod("chat-aaaa-1"), waiting), events=(event,))
    assert [line.split(":")[0] for line in only(seen).evidence] == [
        "pod chat-bbbb-1 on node-1",
        "event on Pod chat-bbbb-1",
    ]


def lease(holder: str, seconds_ago: float) -> dict[str, Any]:
    return {"spec": {"holderIdentity": holder, "renewTime": (NOW - timedelta(seconds=seconds_ago)).isoformat()}}


OPERATOR = {"metadata": {"name": "pagoda-1", "namespace": "pagoda-system"}}
AROUND = [
    (Surroundings(is_installed=False), "CrdMissing"),
    (Surroundings(unknown_fields=("spec.engine.new",)), "CrdOld"),
    (Surroundings(is_lease_read=True, operator_pods=()), "OperatorDown"),
    (Surroundings(is_lease_read=True, lease=lease("a", 90), operator_pods=(OPERATOR,)), "OperatorDown"),
    (Surroundings(is_lease_read=True, lease=lease("", 1), operator_pods=(OPERATOR,)), "OperatorDown"),
    (Surroundings(is_lease_read=True, lease=lease("a", 2)), None),
    (Surroundings(is_lease_read=False), None),
]


@pytest.mark.parametrize(("around", "reason"), AROUND)
def test_what_all_models_need_is_judged_where_it_could_be_read(around: Surroundings, reason: str | None) -> None:
    assert [cause.reason for cause in find_cluster_causes(around, NOW)] == ([reason] if reason else [])
