"""What the pods and the events show of a trouble: which pod and container, how it ended, its last line. Pure."""

import re
from collections.abc import Iterator, Mapping

from pagoda_cli.diagnosis.facts import list_containers
from pagoda_cli.diagnosis.observed import Observed
from pagoda_cli.text import one_line
from pagoda_operator.api.reasons import Reason
from pagoda_operator.kube.objects import KIND, Object
from pagoda_operator.kube.pods import is_ready, shorten_scheduling, unschedulable_message

LIMIT = 5
CONSEQUENCES = frozenset({"BackOff", "Unhealthy"})
"""Warnings that any container causes which does not run, or not yet: they tell nothing of why."""
LINE_CHARACTERS = 300


WITHOUT_PODS = frozenset(
    {
        Reason.INVALID_SPEC,
        Reason.NOT_ALLOWED,
        Reason.NAME_TAKEN,
        Reason.NO_STORAGE_CLASS,
        Reason.NO_INGRESS_CLASS,
        Reason.INGRESS_NOT_ALLOWED,
        Reason.HOST_TAKEN,
        Reason.UNKNOWN_CONTROLLER,
        Reason.CERTIFICATE_MISSING,
        Reason.PAUSED,
        Reason.SCALED_TO_ZERO,
    }
)
"""Reasons that the spec or the cluster gives: what pods show has nothing to do with them."""


def find_evidence(seen: Observed, reason: str, message: str) -> tuple[str, ...]:
    """Returns at most `LIMIT` lines that the condition's message has not: what failing pods show, the last warning."""
    if reason in WITHOUT_PODS:
        return ()
    pods = [line for pod in seen.pods if not is_ready(pod) for line in explain_pod(pod, seen.logs, message)]
    return (*pods[: LIMIT - 1], *_last_warning(seen, message))


def _tells(known: str, said: str) -> bool:
    """Returns whether a message has this already, perhaps without the reason or the `Error` before it."""
    words = re.sub(r"^[A-Z]\w+: ", "", one_line(said))
    return bool(words) and words in known


def explain_pod(pod: Object, logs: Mapping[tuple[str, str], str] | None = None, known: str = "") -> Iterator[str]:
    """Yields what keeps a pod from being ready, a line for each container; `logs` are the ends of their logs.

    What stands in `known` already is not said again.
    """
    name = str(pod["metadata"]["name"])
    node = (pod.get("spec") or {}).get("nodeName")
    where = f"pod {name}" + (f" on {node}" if node else "")
    if (unplaced := unschedulable_message(pod)) is not None and unplaced not in known:
        yield f"{where}: {_cut(unplaced)}"
    for container in list_containers(pod):
        state = container.get("state") or {}
        waiting = state.get("waiting") or {}
        ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated") or {}
        if ended.get("exitCode", 0) != 0:
            last = last_line(ended.get("message", "")) or last_line((logs or {}).get((name, container["name"])))
            line = "" if _tells(known, last) else last
            how = f"ended with exit code {ended['exitCode']} ({ended.get('reason') or 'Error'})"
            times = f", {container['restartCount']} restarts" if container.get("restartCount") else ""
            yield f"{where}, container {container['name']}: {how}{times}" + (f": {_cut(line)}" if line else "")
        elif waiting.get("reason") not in (None, "PodInitializing", "ContainerCreating"):
            if _tells(known, str(waiting.get("message", ""))):
                continue
            said = f": {_cut(waiting['message'])}" if waiting.get("message") else ""
            yield f"{where}, container {container['name']}: {waiting['reason']}{said}"


def _last_warning(seen: Observed, known: str) -> tuple[str, ...]:
    """Returns the last warning, but not what is said already: by the conditions, or of a pod that has become ready."""
    over = {str(pod["metadata"]["name"]) for pod in seen.pods if is_ready(pod)}
    for event in reversed(seen.events):
        about = event.get("involvedObject") or {}
        is_cause = event.get("type") == "Warning" and event.get("reason") not in CONSEQUENCES
        if is_cause and about.get("kind") != KIND and about.get("name") not in over:
            where = f"{about.get('kind', '')} {about.get('name', '')}".strip()
            said = shorten_scheduling(str(event.get("message", "")))
            return (f"event on {where}: {event.get('reason', '')}: {_cut(said)}",) if not _tells(known, said) else ()
    return ()


def last_line(text: object) -> str:
    """Returns the last line that is not blank."""
    lines = [line.strip() for line in str(text or "").splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _cut(text: object) -> str:
    line = one_line(str(text))
    return line if len(line) <= LINE_CHARACTERS else f"{line[: LINE_CHARACTERS - 1]}…"
