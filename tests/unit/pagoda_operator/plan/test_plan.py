"""Snapshots of a cluster in, plans out."""

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

import kubernetes_validate
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagoda_operator.objects.settings import BuildSettings
from pagoda_operator.plan import Load, Refusal, World, needs_apply, plan, world_of

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SETTINGS = BuildSettings("control:1", "server:1")
CLASS = {"metadata": {"name": "nginx"}, "spec": {"controller": "nginx.org/ingress-controller"}}
KINDS = frozenset({"monitoring.coreos.com/PodMonitor", "monitoring.coreos.com/PrometheusRule"})


def resource(status: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "pagoda.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "m", "namespace": "ns", "uid": "u1", "generation": 3},
        "spec": {"model": {"uri": "hf://Qwen/Qwen3-0.6B"}, **spec},
        "status": status or {},
    }


def pod(*, ready: bool = False, **status: Any) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": str(ready)}, *status.pop("conditions", [])]
    limits = {"requests": {"nvidia.com/gpu": "1"}, "limits": {"memory": "4Gi"}}
    spec = {"containers": [{"name": "server", "resources": limits}]}
    return {"metadata": {"name": "m-1"}, "spec": spec, "status": {**status, "conditions": conditions}}


def live(objects: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
    return tuple(copy.deepcopy({**o, "metadata": {**o["metadata"], "uid": "child"}}) for o in objects)


def reason(world: World) -> str:
    return str(plan(world, NOW, SETTINGS).status["conditions"][0]["reason"])


def waiting(why: str, **more: Any) -> list[dict[str, Any]]:
    return [{"name": "server", "restartCount": 2, "state": {"waiting": {"reason": why, "message": "no"}}, **more}]


def unschedulable(message: str) -> dict[str, Any]:
    return {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}


NO_GPU = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
AFTERTHOUGHTS = (
    " preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.",
    " preemption: not eligible due to a running pod.",
    " not found",
)
FETCH = [{"name": "fetch", "state": {"terminated": {"exitCode": 1, "message": "ModelNotFound: no such repository"}}}]
OOM = [{"name": "server", "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}, "restartCount": 1}]
CRASH = waiting("CrashLoopBackOff", lastState={"terminated": {"exitCode": 2, "message": "x\nboom"}})


@pytest.mark.parametrize(
    ("broken", "expected", "said"),
    [
        (pod(containerStatuses=waiting("ImagePullBackOff")), "ImagePullFailed", "no"),
        (pod(initContainerStatuses=FETCH), "ModelNotFound", "no such repository"),
        (pod(containerStatuses=OOM), "OutOfMemory", "4Gi"),
        (pod(containerStatuses=CRASH), "CrashLooping", "boom"),
        (pod(conditions=[unschedulable(NO_GPU)]), "Unschedulable", "nvidia.com/gpu (it asks for 1; 3 nodes too short)"),
        (pod(), "Starting", "0 of 1"),
        (pod(ready=True), "Serving", "answers"),
    ],
)
def test_the_reason_is_the_users_trouble(broken: dict[str, Any], expected: str, said: str) -> None:
    ready = plan(world_of(resource(), pods=[broken]), NOW, SETTINGS).status["conditions"][0]
    assert ready["reason"] == expected
    assert said in ready["message"]


@pytest.mark.parametrize("afterthought", AFTERTHOUGHTS)
def test_what_the_scheduler_adds_about_preemption_is_left_out(afterthought: str) -> None:
    broken = pod(conditions=[unschedulable(NO_GPU + afterthought)])
    ready = plan(world_of(resource(), pods=[broken]), NOW, SETTINGS).status["conditions"][0]
    assert ready["message"].endswith(NO_GPU)


OOM_KILLED = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
CRASHED = {"terminated": {"reason": "Error", "exitCode": 1}}


@pytest.mark.parametrize(
    ("last", "ready_changed_at", "expected"),
    [
        (OOM_KILLED, "2026-01-01T00:00:00Z", "OutOfMemory"),
        (CRASHED, "2026-01-01T00:00:00Z", "CrashLooping"),
        (OOM_KILLED, "2026-01-01T00:09:00Z", "Starting"),
        (CRASHED, "2026-01-01T00:09:00Z", "Starting"),
    ],
)
def test_while_a_container_runs_between_two_crashes_the_reason_stays(
    last: dict[str, Any], ready_changed_at: str, expected: str
) -> None:
    """The server's container is ready as soon as it runs: the pod is only when the gateway says so."""
    server = {"name": "server", "ready": True, "restartCount": 1, "lastState": last}
    server["state"] = {"running": {"startedAt": "2026-01-01T00:05:00Z"}}
    broken = pod(containerStatuses=[server])
    broken["status"]["conditions"][0]["lastTransitionTime"] = ready_changed_at
    assert reason(world_of(resource(), pods=[broken])) == expected


def test_a_refused_spec_changes_nothing_but_the_status() -> None:
    planned = plan(world_of(resource(replicas=-1)), NOW, SETTINGS)
    assert planned.objects == () and planned.deletions == ()
    assert planned.status["conditions"][0]["reason"] == "InvalidSpec"


def test_classes_that_may_not_be_read_are_not_said_to_be_missing_and_an_ingress_stays() -> None:
    asked = resource(ingress={"host": "a.b", "className": "x"})
    owner = {"uid": asked["metadata"]["uid"], "controller": True, "kind": "ModelDeployment", "name": "m"}
    metadata = {**asked["metadata"], "ownerReferences": [{**owner, "apiVersion": "pagoda.dev/v1alpha1"}]}
    live = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata}
    unread = frozenset({"IngressClass", "StorageClass"})
    found = plan(world_of(asked, children=(live,), unread_kinds=unread), NOW, SETTINGS)
    said = next(c for c in found.status["conditions"] if c["type"] == "Ingress")
    assert (said["reason"], found.deletions) == ("NoIngressClass", ()) and "rbac.clusterRoles" in said["message"]
    assert [ref.kind for ref in plan(world_of(asked, children=(live,)), NOW, SETTINGS).deletions] == ["Ingress"]
    cached = {"uri": "hf://a/b", "cache": {"pvc": {"size": "1Gi"}}}
    assert reason(world_of(resource(model=cached), unread_kinds=unread)) == "Starting"


def test_missing_classes_are_named() -> None:
    assert reason(world_of(resource(ingress={"host": "a.b", "className": "x"}))) == "NoIngressClass"
    cached = {"uri": "hf://a/b", "cache": {"pvc": {"size": "1Gi"}}}
    assert reason(world_of(resource(model=cached))) == "NoStorageClass"


def test_only_the_hpa_writes_replicas_once_it_has_written_one() -> None:
    raw = resource(autoscaling={"minReplicas": 2, "maxReplicas": 8, "tokensPerSecond": 100})
    first = plan(world_of(raw), NOW, SETTINGS)
    children = live(first.objects)
    deployment = next(c for c in children if c["kind"] == "Deployment")
    assert deployment["spec"]["replicas"] == 2
    deployment["spec"]["replicas"] = 5
    again = plan(world_of(raw, children=children), NOW, SETTINGS)
    assert all("replicas" not in o["spec"] for o in again.objects if o["kind"] == "Deployment")


def test_an_operator_upgrade_restarts_no_pod_until_the_spec_changes() -> None:
    children = live(plan(world_of(resource()), NOW, SETTINGS).objects)
    newer = BuildSettings("control:2", "server:2")

    def image(**spec: Any) -> str:
        objects = plan(world_of(resource(**spec), children=children), NOW, newer).objects
        deployment = next(o for o in objects if o["kind"] == "Deployment")
        return str(deployment["spec"]["template"]["spec"]["containers"][0]["image"])

    assert image() == "server:1"
    assert image(replicas=4) == "server:1"
    assert image(engine={"maxNumSeqs": 8}) == "server:2"
    assert image(rollout={"upgradePolicy": "Immediately"}) == "server:2"


def test_a_revision_that_cannot_run_takes_the_images_of_a_newer_operator() -> None:
    children = live(plan(world_of(resource()), NOW, SETTINGS).objects)
    template = next(c for c in children if c["kind"] == "Deployment")["spec"]["template"]
    newer = BuildSettings("control:2", "server:2")

    def image(*pods: dict[str, Any]) -> str:
        ours = [{**p, "spec": template["spec"]} for p in pods]
        objects = plan(world_of(resource(), children=children, pods=ours), NOW, newer).objects
        deployment = next(o for o in objects if o["kind"] == "Deployment")
        return str(deployment["spec"]["template"]["spec"]["containers"][0]["image"])

    bad = pod(containerStatuses=waiting("ImagePullBackOff"))
    assert image(bad) == "server:2"
    assert image(bad, pod(ready=True)) == "server:1"
    assert image(pod()) == "server:1", "one that is still starting is left alone"


def test_a_pod_that_waits_for_its_node_has_the_kubelets_reason() -> None:
    scheduled = {"type": "PodScheduled", "status": "True"}
    stuck = pod(phase="Pending", conditions=[scheduled])

    def said(message: str, event: str = "FailedMount") -> tuple[str, str]:
        events = ({"reason": event, "message": message, "involvedObject": {"name": "m-1"}},)
        ready = plan(world_of(resource(), pods=[stuck], events=events), NOW, SETTINGS).status["conditions"][0]
        return ready["reason"], ready["message"]

    assert said('MountVolume.SetUp failed for volume "api-keys" : secret "keys" not found')[0] == "SecretNotFound"
    assert said("volume attachment is in use") == ("VolumeNotMounted", "m-1: volume attachment is in use")
    assert said("no address is free", "FailedCreatePodSandBox")[0] == "PodNotStarting"


def test_a_refused_pod_and_a_taken_name_are_told() -> None:
    failure = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: pods"}
    children = live(plan(world_of(resource()), NOW, SETTINGS).objects)
    next(c for c in children if c["kind"] == "Deployment")["status"] = {"conditions": [failure]}
    assert reason(world_of(resource(), children=children)) == "PodsNotCreated"
    assert reason(world_of(resource(), taken=("Service m",), pods=[pod(ready=True)])) == "NameTaken"


CLAIMED = {"resources": {"claims": [{"name": "gpu", "resourceClaimTemplateName": "h100"}]}}


@pytest.mark.parametrize(
    ("spec", "message"), [({}, NO_GPU), (CLAIMED, "0/3 nodes are available: 3 cannot allocate all claims.")]
)
def test_a_roll_out_without_a_free_gpu_replaces_in_place_and_says_so(spec: dict[str, Any], message: str) -> None:
    asked = resource(**spec)
    children = live(plan(world_of(asked), NOW, SETTINGS).objects)
    deployment = next(c for c in children if c["kind"] == "Deployment")
    deployment["status"] = {"replicas": 2, "updatedReplicas": 1}
    pods = [pod(ready=True), pod(conditions=[unschedulable(message)])]
    planned = plan(world_of(asked, children=children, pods=pods), NOW, SETTINGS)
    strategy = next(o for o in planned.objects if o["kind"] == "Deployment")["spec"]["strategy"]["rollingUpdate"]
    assert strategy == {"maxSurge": 0, "maxUnavailable": 1}
    assert planned.status["conditions"][-1]["reason"] == "NoSurgeCapacity"


def test_children_that_are_no_longer_wanted_are_deleted() -> None:
    two = plan(world_of(resource(replicas=2)), NOW, SETTINGS)
    gone = plan(world_of(resource(replicas=1), children=live(two.objects)), NOW, SETTINGS).deletions
    assert [ref.kind for ref in gone] == ["PodDisruptionBudget"]


def test_the_hpa_waits_for_the_capacity() -> None:
    raw = resource(autoscaling={"maxReplicas": 8})
    assert "HorizontalPodAutoscaler" not in {o["kind"] for o in plan(world_of(raw), NOW, SETTINGS).objects}
    seen = world_of(raw, load=Load(10.0, 12.0, 2400.0, "measured"))
    hpa = next(o for o in plan(seen, NOW, SETTINGS).objects if o["kind"] == "HorizontalPodAutoscaler")
    assert hpa["spec"]["metrics"][0]["object"]["target"]["averageValue"] == "1680"


def deployment_of(world: World) -> dict[str, Any]:
    return next(o for o in plan(world, NOW, SETTINGS).objects if o["kind"] == "Deployment")


def condition(world: World, type_: str) -> dict[str, Any]:
    return next((c for c in plan(world, NOW, SETTINGS).status["conditions"] if c["type"] == type_), {})


def test_from_no_replicas_to_autoscaling_the_first_ones_are_written_once() -> None:
    children = live(plan(world_of(resource(replicas=0)), NOW, SETTINGS).objects)
    raw = resource(autoscaling={"minReplicas": 2, "maxReplicas": 8, "tokensPerSecond": 100})
    first = deployment_of(world_of(raw, children=children))
    assert first["spec"]["replicas"] == 2
    first["spec"]["replicas"] = 5  # as the HPA writes it
    assert "replicas" not in deployment_of(world_of(raw, children=live((first,))))["spec"]


def test_while_the_capacity_is_unknown_the_hpa_keeps_its_target_and_takes_new_limits() -> None:
    raw = resource(autoscaling={"maxReplicas": 8})
    known = plan(world_of(raw, load=Load(10.0, 12.0, 2400.0, "measured")), NOW, SETTINGS)
    edited = resource(known.status, autoscaling={"maxReplicas": 4}, resources={"memory": "9Gi"})
    planned = plan(world_of(edited, children=live(known.objects)), NOW, SETTINGS)
    hpa = next(o for o in planned.objects if o["kind"] == "HorizontalPodAutoscaler")
    assert hpa["spec"]["metrics"][0]["object"]["target"]["averageValue"] == "1680"
    assert (hpa["spec"]["maxReplicas"], planned.deletions) == (4, ())
    assert "capacity" not in planned.status


def test_a_load_that_is_no_longer_told_is_missing_to_the_autoscaler() -> None:
    raw = resource(autoscaling={"maxReplicas": 8, "tokensPerSecond": 9})
    children = live(plan(world_of(raw), NOW, SETTINGS).objects)
    assert condition(world_of(raw, children=children), "Scaling")["status"] == "True"
    silent = condition(world_of(raw, children=children, has_stale_load=True), "Scaling")
    assert (silent["status"], silent["reason"]) == ("False", "MetricsMissing")


def test_replicas_wait_until_the_hpa_is_gone() -> None:
    children = live(
        plan(world_of(resource(autoscaling={"maxReplicas": 8, "tokensPerSecond": 9})), NOW, SETTINGS).objects
    )
    next(c for c in children if c["kind"] == "Deployment")["spec"]["replicas"] = 6
    planned = plan(world_of(resource(replicas=2), children=children), NOW, SETTINGS)
    assert [ref.kind for ref in planned.deletions] == ["HorizontalPodAutoscaler"]
    assert "replicas" not in next(o for o in planned.objects if o["kind"] == "Deployment")["spec"]


def test_a_roll_out_is_not_complete_without_a_ready_pod() -> None:
    children = live(plan(world_of(resource()), NOW, SETTINGS).objects)
    next(c for c in children if c["kind"] == "Deployment")["status"] = {"replicas": 1, "updatedReplicas": 1}
    assert condition(world_of(resource(), children=children, pods=[pod()]), "Progressing")["status"] == "True"
    done = condition(world_of(resource(), children=children, pods=[pod(ready=True)]), "Progressing")
    assert (done["status"], done["reason"]) == ("False", "Complete")


def test_figures_of_the_spec_before_complete_no_roll_out() -> None:
    children = live(plan(world_of(resource()), NOW, SETTINGS).objects)
    deployment = next(c for c in children if c["kind"] == "Deployment")
    deployment["metadata"]["generation"] = 2
    deployment["status"] = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1}
    seen = world_of(resource(), children=children, pods=[pod(ready=True)])
    assert condition(seen, "Progressing")["status"] == "True"


def test_a_paused_deployment_is_said_with_the_way_out() -> None:
    children = live(plan(world_of(resource()), NOW, SETTINGS).objects)
    next(c for c in children if c["kind"] == "Deployment")["spec"]["paused"] = True
    found = condition(world_of(resource(), children=children), "Progressing")
    assert (found["status"], found["reason"]) == ("False", "Paused")
    assert "kubectl rollout resume deployment/m" in found["message"]


def test_ready_pods_go_on_serving_while_a_new_revision_is_refused() -> None:
    refused = (Refusal("Deployment", "m", "422: spec.x: Invalid value"),)
    seen = world_of(resource(), pods=[pod(ready=True)], refusals=refused)
    ready = condition(seen, "Ready")
    assert (ready["status"], ready["reason"]) == ("True", "RolloutFailing")
    assert "refused: ApplyFailed: Deployment m: 422: spec.x: Invalid value" in ready["message"]
    assert condition(seen, "Stalled")["reason"] == "ApplyFailed"
    assert condition(seen, "Progressing")["message"] == "Deployment m: 422: spec.x: Invalid value"
    assert [event.reason for event in plan(seen, NOW, SETTINGS).events] == ["RolloutFailing", "Fetched"]


def test_an_object_with_our_labels_that_is_not_ours_is_not_seen_as_a_child() -> None:
    decoy = live(plan(world_of(resource()), NOW, SETTINGS).objects)[-1]
    decoy["metadata"] |= {"name": "decoy", "ownerReferences": [{"uid": "other", "controller": True}]}
    assert world_of(resource(), children=[decoy]).child(decoy["kind"]) is None


@st.composite
def specs(draw: st.DrawFn) -> dict[str, Any]:
    options: list[dict[str, Any]] = [
        draw(st.sampled_from([{}, {"replicas": 0}, {"replicas": 3}, {"autoscaling": {"maxReplicas": 9}}])),
        draw(st.sampled_from([{}, {"resources": {"gpus": 0, "memory": "3Gi", "cpu": 2}}])),
        draw(st.sampled_from([{}, {"ingress": {"host": "a.example.com", "tlsSecretName": "t"}}])),
        draw(st.sampled_from([{}, {"auth": {"apiKeysSecretRef": {"name": "keys"}}}])),
        draw(st.sampled_from([{}, {"scheduling": {"tolerations": [{"operator": "Exists"}]}}])),
    ]
    uri = draw(st.sampled_from(["hf://a/b@main", "pvc://claim/x/y", "bundled://pagoda-tiny"]))
    model: dict[str, Any] = {"uri": uri, "tokenSecretRef": {"name": "t"}}
    if uri.startswith("hf"):
        model["cache"] = draw(st.sampled_from([{}, {"pvc": {"size": "5Gi"}}, {"existingClaim": "c"}]))
    merged: dict[str, Any] = {"model": model}
    for option in options:
        merged |= option
    return merged


@settings(max_examples=60, deadline=None)
@given(specs(), st.booleans())
def test_plans_are_idempotent_valid_and_restricted(spec: dict[str, Any], loaded: bool) -> None:
    load = Load(10.0, 12.0, 2400.0, "measured") if loaded else None
    seen: dict[str, Any] = {"ingress_classes": (CLASS,), "kinds": KINDS, "load": load}
    first = plan(world_of(resource(**spec), **seen), NOW, SETTINGS)
    assert first == plan(world_of(resource(**spec), **seen), NOW, SETTINGS)
    children = live(first.objects)
    second = plan(world_of(resource(**spec), children=children, **seen), NOW, SETTINGS)
    third_world = world_of(resource(second.status, **spec), children=children, **seen)
    third = plan(third_world, NOW + timedelta(minutes=1), SETTINGS)
    by_kind = {child["kind"]: child for child in children}
    assert not [o["kind"] for o in third.objects if needs_apply(o, by_kind.get(o["kind"]))]
    assert (third.deletions, third.events, third.status) == ((), (), second.status)
    for obj in first.objects:
        assert len(obj["metadata"]["name"]) <= 63
        if not obj["apiVersion"].startswith("monitoring.coreos.com"):
            kubernetes_validate.validate(obj, "1.37", strict=True)
        if obj["kind"] == "Deployment":
            _assert_restricted(obj["spec"]["template"]["spec"])


def _assert_restricted(spec: dict[str, Any]) -> None:
    assert spec["securityContext"]["runAsNonRoot"] and not spec["automountServiceAccountToken"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in (*spec["initContainers"], *spec["containers"]):
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] and context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
