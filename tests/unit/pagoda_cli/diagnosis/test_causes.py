"""What is wrong is named with its cause and the next step, and what is well is not."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from pagoda_cli.diagnosis.causes import GOOD, WAITING, find_causes
from pagoda_cli.diagnosis.observed import Observed
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
    assert len(cause.evidence) == 1, "that it is started again and again is no cause"
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
    (fails("ModelNotFound", "not shipped", model={"uri": "bundled://x"}), "pagoda models list"),
    (fails("ImagePullFailed", "server of p: 401 unauthorized"), "imagePullSecrets"),
    (fails("ImagePullFailed", "server of p: x/y:2: not found", image={"server": "x/y:2"}), "correct spec.image.server"),
    (fails("ImagePullFailed", "server of p: x/y:2: not found"), "image.server in the chart's values"),
    (
        fails("CrashLooping", "exit code 2: --max-model-len 9 is over 8", engine={"maxModelLen": 9, "dtype": "auto"}),
        "correct spec.engine.maxModelLen (now 9): kubectl -n models edit mdep chat",
    ),
    (fails("CrashLooping", "Segmentation fault"), "pagoda logs chat -n models --previous"),
    (
        fails("NotAllowed", "spec.pod.env: LD_X is not allowed: remove it (models.allowed.env: none), or ask"),
        "or have it added to models.allowed.env in the chart's values",
    ),
    (fails("VolumeNotMounted", "x", model={"cache": {"existingClaim": "weights"}}), "describe pvc weights"),
    (build_out_of_memory(), '{"spec":{"resources":{"memory":"32Gi"}}}'),
    (fails("InvalidSpec", "spec.engine: no"), "correct spec.engine: kubectl -n models edit mdep chat"),
    (fails("IngressNotAllowed", "spec.ingress.host x is not allowed"), "ingress.allowedHosts"),
    (fails("IngressNotAllowed", "spec.ingress.annotations x is not allowed"), "ingress.allowedAnnotations"),
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
    assert "1 request was refused" in only(replace(build_healthy(), refused_keys=1)).message


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


INNER = "spec.model.uri bundled://x: there is no such model"
FAILING = (
    f"1 replica serves with an older revision, and the new one fails: ModelNotFound: {INNER}. Correct spec.model.uri."
)


def test_a_rollout_that_fails_is_one_cause_with_the_steps_of_what_fails() -> None:
    ready = condition("Ready", "True", "RolloutFailing", FAILING)
    seen = Observed(mdep=build_model(ready, condition("PodsReady", "False", "ModelNotFound", INNER)))
    cause = only(seen)
    assert cause.reason == "RolloutFailing"
    assert "apply -f FILE" in cause.steps[0] and "correct spec.model.uri" in cause.steps[1]


NO_CERTIFICATE = "the ingress controller shows a certificate of other names: see that the Secret site-tls exists"


def test_a_missing_certificate_is_one_cause_with_the_missing_secret_as_evidence() -> None:
    ready = condition("Ready", "True", "Degraded", f"1 of 1 replicas are ready: CertificateMissing: {NO_CERTIFICATE}")
    ingress = condition("Ingress", "False", "CertificateMissing", NO_CERTIFICATE)
    mdep = build_model(ready, ingress, spec={"ingress": {"tlsSecretName": "site-tls"}})
    cause = only(Observed(mdep=mdep, missing_secrets=("spec.ingress.tlsSecretName=site-tls",)))
    assert cause.reason == "CertificateMissing"
    assert cause.evidence == (
        "spec.ingress.tlsSecretName names the Secret site-tls, which does not exist in this namespace",
    )
    assert cause.steps[0] == "kubectl -n models create secret tls site-tls --cert=FILE --key=FILE"


def test_a_secret_for_keys_that_is_gone_is_said_beside_a_missing_certificate() -> None:
    ingress = condition("Ingress", "False", "CertificateMissing", NO_CERTIFICATE)
    seen = Observed(mdep=build_model(ingress), missing_secrets=("spec.auth.apiKeysSecretRef.name=keys",))
    assert {cause.reason for cause in find_causes(seen, NOW)} == {"CertificateMissing", "SecretNotFound"}


def test_degraded_for_what_no_other_condition_tells_is_said() -> None:
    message = "1 of 1 replicas are ready: NameTaken: Service chat already exists"
    assert only(Observed(mdep=build_model(condition("Ready", "True", "Degraded", message)))).reason == "Degraded"


def test_what_pods_show_is_no_evidence_of_a_mistake_in_the_spec() -> None:
    event = build_event("Unhealthy", "Readiness probe failed", about="chat-bbbb-1")
    pods = (build_pod("chat-bbbb-1", ready=False),)
    seen = replace(fails("IngressNotAllowed", "spec.ingress.host x"), pods=pods, events=(event,))
    assert only(seen).evidence == ()


def test_events_that_repeat_a_condition_or_are_over_are_no_evidence() -> None:
    repeated = build_event("PodsNotCreated", "exceeded quota", about="chat")
    repeated["involvedObject"]["kind"] = "ModelDeployment"
    over = build_event("FailedMount", "timed out", about="chat-aaaa-1")
    seen = replace(fails("PodsNotCreated", "exceeded quota"), pods=(build_pod("chat-aaaa-1"),), events=(over, repeated))
    assert only(seen).evidence == ()


def test_a_profile_that_does_not_exist_is_nothing_that_validate_finds() -> None:
    steps = only(fails("InvalidSpec", "spec.profile: there is no profile x")).steps
    assert steps == ("correct spec.profile: kubectl -n models edit mdep chat",)


def test_what_the_message_says_is_no_evidence_as_well() -> None:
    short = "0/3 nodes are available: 3 Insufficient memory."
    long = f"{short} preemption: 0/3 nodes are available: 3 No preemption victims found."
    pod = build_pod("chat-bbbb-1", ready=False)
    pod["status"]["conditions"] += [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": long}
    ]
    seen = fails("Unschedulable", f"no node has enough memory for chat-bbbb-1. {short}")
    event = build_event("FailedScheduling", long, about="chat-bbbb-1")
    assert only(replace(seen, pods=(pod,), events=(event,))).evidence == ()


def test_words_of_a_container_that_the_message_has_are_not_said_again() -> None:
    message = "max_model_len is 9 and the model knows 8"
    ended = {"terminated": {"exitCode": 2, "reason": "Error", "message": message}}
    container = {"name": "server", "restartCount": 3, "state": ended}
    pod = build_pod("chat-bbbb-1", ready=False, containerStatuses=[container])
    seen = replace(fails("CrashLooping", f"server ended 3 times: {message}"), pods=(pod,))
    assert only(seen).evidence == (
        "pod chat-bbbb-1 on node-1, container server: ended with exit code 2 (Error), 3 restarts",
    )
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "x:1: not found"}}
    pod = build_pod("chat-bbbb-1", ready=False, containerStatuses=[{"name": "server", "state": waiting}])
    assert only(replace(fails("ImagePullFailed", "server: x:1: not found"), pods=(pod,))).evidence == ()
