"""The next step for each reason, with the model's own names in it: a command to copy, or the YAML to change. Pure."""

import re
from collections.abc import Callable, Iterator

from pagoda_cli.diagnosis.facts import list_containers
from pagoda_cli.diagnosis.observed import Observed
from pagoda_cli.diagnosis.place import describe_pods, edit, explain_claim, find_place
from pagoda_operator.api.reasons import Reason
from pagoda_operator.kube.objects import Object
from pagoda_operator.kube.quantity import parse_bytes

_SECRET = re.compile(r"""[Ss]ecret "?([a-z0-9][a-z0-9.-]*[a-z0-9])""")
_KEY = re.compile(r"key (\S+) in Secret (?:\S+/)?([a-z0-9.-]*[a-z0-9])")
_INNER = re.compile(r": ([A-Z][A-Za-z]+): ")
REASONS: dict[str, Reason] = {str(reason): reason for reason in Reason}
Steps = Callable[[Observed, str], Iterator[str]]


def build_steps(seen: Observed, reason: str, message: str) -> tuple[str, ...]:
    """Returns what to do about a reason that this model's condition gives; `message` is the condition's."""
    special = _STEPS.get(reason)
    if special is not None:
        return tuple(special(seen, message))
    known = REASONS.get(reason)
    fix = known.fix if known is not None else ""
    return (fix, _describe(seen)) if fix else (_describe(seen),)


def _describe(seen: Observed) -> str:
    return f"kubectl -n {seen.namespace} describe mdep {seen.name}"


def _secret(seen: Observed, message: str) -> Iterator[str]:
    found = _SECRET.search(message)
    name, create = found[1] if found else "NAME", f"kubectl -n {seen.namespace} create secret"
    spec = seen.mdep.get("spec") or {}
    token = (spec.get("model") or {}).get("tokenSecretRef") or {}
    tls = (spec.get("ingress") or {}).get("tlsSecretName")
    if name == tls:
        yield f"{create} tls {name} --cert=FILE --key=FILE"
        yield "or let cert-manager make it: spec.ingress.annotations: {cert-manager.io/cluster-issuer: ISSUER}"
    elif name == token.get("name"):
        yield f"{create} generic {name} --from-literal={token.get('key') or 'token'}=TOKEN"
    else:
        yield f"{create} generic {name} --from-literal=TENANT=KEY"
    yield "or correct the name in the spec: " + edit(seen)


def _config(seen: Observed, message: str) -> Iterator[str]:
    found = _KEY.search(message)
    if found:
        key, name = found[1], found[2]
        data = f'{{"stringData":{{"{key}":"VALUE"}}}}'
        yield f"add the key: kubectl -n {seen.namespace} patch secret {name} -p '{data}'"
        yield "or name the key that it has: spec.model.tokenSecretRef.key"
    else:
        yield describe_pods(seen)


def _storage(seen: Observed, _: str) -> Iterator[str]:
    yield f"set spec.model.cache.pvc.storageClassName to one that there is: {edit(seen)}"
    yield "kubectl get storageclass"


def _ingress_class(seen: Observed, _: str) -> Iterator[str]:
    yield f"set spec.ingress.className to one that there is: {edit(seen)}"
    yield "kubectl get ingressclass"


def _memory(seen: Observed, _: str) -> Iterator[str]:
    limit = next((text for pod in seen.pods for text in _limits(pod)), None)
    doubled = _double(limit) if limit else "SIZE"
    yield f"raise spec.resources.memory to {doubled}:"
    patch = f'{{"spec":{{"resources":{{"memory":"{doubled}"}}}}}}'
    yield f"kubectl -n {seen.namespace} patch mdep {seen.name} --type merge -p '{patch}'"
    yield "or serve fewer tokens at once: spec.engine.maxModelLen, spec.engine.maxNumSeqs"


def _double(size: str) -> str:
    try:
        mebibytes = 2 * parse_bytes(size) // 2**20
    except ValueError:
        return "SIZE"
    return f"{mebibytes}Mi" if mebibytes % 1024 else f"{mebibytes // 1024}Gi"


def _limits(pod: Object) -> Iterator[str]:
    killed = {
        c["name"]
        for c in list_containers(pod)
        for state in (c.get("state") or {}, c.get("lastState") or {})
        if (state.get("terminated") or {}).get("reason") == "OOMKilled"
    }
    spec = pod.get("spec") or {}
    for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        limit = ((container.get("resources") or {}).get("limits") or {}).get("memory")
        if container["name"] in killed and limit:
            yield str(limit)


def _crash(seen: Observed, message: str) -> Iterator[str]:
    engine = (seen.mdep.get("spec") or {}).get("engine") or {}
    named = [field for field in engine if re.search(rf"\b{_as_flag(field)}\b", message)]
    if named:
        fields = ", ".join(f"spec.engine.{field} (now {str(engine[field])[:40]})" for field in named)
        yield f"correct {fields}: {edit(seen)}"
        yield f"all of its last log: pagoda logs {seen.name} -n {seen.namespace} --previous"
    else:
        yield f"pagoda logs {seen.name} -n {seen.namespace} --previous"
        yield f"correct what its last lines name: {edit(seen)}"
    if int(seen.mdep["metadata"].get("generation") or 0) > 1:
        yield f"when it came with the last change: {_undo(seen)}"


def _as_flag(field: str) -> str:
    """Returns the pattern of how the server names a setting: maxModelLen is max_model_len or --max-model-len."""
    return re.sub("[A-Z]", lambda found: f"[_-]{found[0].lower()}", re.sub("[^A-Za-z0-9]", "", field))


def _undo(seen: Observed) -> str:
    return f"apply the last file that worked: kubectl -n {seen.namespace} apply -f FILE"


def _rollout(seen: Observed, message: str) -> Iterator[str]:
    yield f"the old revision goes on serving; {_undo(seen)}"
    inner = find_inner_reason(message)
    if inner:
        yield from build_steps(seen, inner, message)
    else:
        yield f"or correct the field: {edit(seen)}"
        yield f"pagoda logs {seen.name} -n {seen.namespace} --previous"


def find_inner_reason(message: str) -> str:
    """Returns the reason that a message of Degraded or RolloutFailing tells of, empty where it tells of none."""
    found = _INNER.search(message)
    return found[1] if found and found[1] in REASONS else ""


def _degraded(seen: Observed, message: str) -> Iterator[str]:
    inner = find_inner_reason(message)
    yield from build_steps(seen, inner, message) if inner else (_describe(seen), describe_pods(seen))


def _image(seen: Observed, message: str) -> Iterator[str]:
    own = ((seen.mdep.get("spec") or {}).get("image") or {}).get("server")
    if own and own in message:
        yield f"correct spec.image.server (now {own}): {edit(seen)}"
    else:
        values = "correct image.control or image.server in the chart's values"
        yield f"{values}: helm upgrade pagoda … --reuse-values --set …"
    if re.search("401|403|denied|unauthorized", message, re.IGNORECASE):
        yield "the registry asks who you are: set imagePullSecrets in the chart's values"
    yield describe_pods(seen)


def _uri(seen: Observed) -> str:
    uri = str(((seen.mdep.get("spec") or {}).get("model") or {}).get("uri", "URI"))
    return uri if re.fullmatch(r"[\w./:@+-]+", uri) else "URI"


def _not_found(seen: Observed, _: str) -> Iterator[str]:
    yield f"correct spec.model.uri (now {_uri(seen)}): {edit(seen)}"
    if not _uri(seen).startswith("hf://"):
        yield "which models are shipped: pagoda models list"
        return
    yield f"whether the hub has it: pagoda models check {_uri(seen)}"
    yield "a private model: set spec.model.tokenSecretRef to a token that may read it"


def _denied(seen: Observed, _: str) -> Iterator[str]:
    yield "accept the model's license on the hub, with the account of the token"
    yield f"kubectl -n {seen.namespace} create secret generic hub-token --from-literal=token=TOKEN"
    yield f"set spec.model.tokenSecretRef: {{name: hub-token}}: {edit(seen)}"


def _download(seen: Observed, _: str) -> Iterator[str]:
    yield f"pagoda logs {seen.name} -n {seen.namespace} -c fetch"
    yield f"from here: pagoda models check {_uri(seen)}"
    yield "no room: raise spec.model.cache.pvc.size; no way out: allow the hub in proxies and network policies"


def _invalid(seen: Observed, message: str) -> Iterator[str]:
    found = re.match(r"spec[\w.]*", message)
    field = found[0] if found else "the field that is named"
    yield f"correct {field}: {edit(seen)}"
    if field != "spec.profile":  # which profiles there are is known in the cluster alone
        yield "pagoda validate FILE finds it before it is applied"


def _taken(seen: Observed, message: str) -> Iterator[str]:
    found = re.match(r"([A-Za-z]+) ([a-z0-9.-]+)", message)
    if found:
        yield f"see whose it is: kubectl -n {seen.namespace} get {found[1].lower()} {found[2]} -o yaml"
    yield "delete or rename it, or give the ModelDeployment another name"


def _paused(seen: Observed, _: str) -> Iterator[str]:
    yield f"kubectl -n {seen.namespace} rollout resume deployment/{seen.name}"


def _zero(seen: Observed, _: str) -> Iterator[str]:
    yield f"kubectl -n {seen.namespace} scale mdep {seen.name} --replicas=1"


def _metrics(seen: Observed, _: str) -> Iterator[str]:
    yield "kubectl get apiservice v1beta2.custom.metrics.k8s.io"
    yield f"kubectl -n {seen.namespace} describe hpa {seen.name}"
    yield "until then replicas stay as they are: nothing is lost"


def _starting(seen: Observed, _: str) -> Iterator[str]:
    yield f"wait, or watch: pagoda status {seen.name} -n {seen.namespace} --watch"
    yield f"pagoda logs {seen.name} -n {seen.namespace} -f"


def _quota(seen: Observed, _: str) -> Iterator[str]:
    yield f"kubectl -n {seen.namespace} describe quota,limitrange"
    yield f"raise the quota, or ask for less in spec.resources: {edit(seen)}"


def _host(seen: Observed, message: str) -> Iterator[str]:
    if "spec.ingress.annotations" in message:
        yield f"remove the annotation from spec.ingress.annotations: {edit(seen)}"
        yield "or have it added to ingress.allowedAnnotations in the chart's values"
    else:
        yield f"set spec.ingress.host to one that is allowed: {edit(seen)}"
        yield "or have it added to ingress.allowedHosts in the chart's values"


def _certificate(seen: Observed, _: str) -> Iterator[str]:
    name = ((seen.mdep.get("spec") or {}).get("ingress") or {}).get("tlsSecretName") or "NAME"
    yield f"kubectl -n {seen.namespace} create secret tls {name} --cert=FILE --key=FILE"
    yield f"or, where cert-manager makes it: kubectl -n {seen.namespace} describe certificate,certificaterequest"
    yield f"or correct spec.ingress.tlsSecretName: {edit(seen)}"


def _other_host(seen: Observed, _: str) -> Iterator[str]:
    yield f"choose another spec.ingress.host or path: {edit(seen)}"
    yield "who has which: kubectl get ingress -A"


def _leave(seen: Observed, message: str) -> Iterator[str]:
    found = re.search(r"(spec\.[\w.]+): .*\bmodels\.allowed\.(\w+)", message)
    field, entries = (
        (found[1], f"models.allowed.{found[2]}") if found else ("the field that is named", "models.allowed")
    )
    yield f"remove {field}: {edit(seen)}"
    yield f"or have it added to {entries} in the chart's values, or to a profile that spec.profile names"


def _volume(seen: Observed, _: str) -> Iterator[str]:
    yield from explain_claim(seen)
    yield "a claim that is ReadWriteOnce serves one node: use accessMode ReadWriteMany for replicas on several"
    yield describe_pods(seen)


_STEPS: dict[str, Steps] = {
    Reason.SECRET_NOT_FOUND: _secret,
    Reason.CONFIG_MISSING: _config,
    Reason.NO_STORAGE_CLASS: _storage,
    Reason.NO_INGRESS_CLASS: _ingress_class,
    Reason.INGRESS_NOT_ALLOWED: _host,
    Reason.HOST_TAKEN: _other_host,
    Reason.CERTIFICATE_MISSING: _certificate,
    Reason.NOT_ALLOWED: _leave,
    Reason.UNSCHEDULABLE: find_place,
    Reason.OUT_OF_MEMORY: _memory,
    Reason.CRASH_LOOPING: _crash,
    Reason.ROLLOUT_FAILING: _rollout,
    Reason.DEGRADED: _degraded,
    Reason.ROLLOUT_STUCK: _rollout,
    Reason.IMAGE_PULL_FAILED: _image,
    Reason.MODEL_NOT_FOUND: _not_found,
    Reason.MODEL_DOWNLOAD_DENIED: _denied,
    Reason.MODEL_DOWNLOAD_FAILED: _download,
    Reason.INVALID_SPEC: _invalid,
    Reason.NAME_TAKEN: _taken,
    Reason.PAUSED: _paused,
    Reason.SCALED_TO_ZERO: _zero,
    Reason.METRICS_MISSING: _metrics,
    Reason.STARTING: _starting,
    Reason.PODS_NOT_CREATED: _quota,
    Reason.VOLUME_NOT_MOUNTED: _volume,
}
