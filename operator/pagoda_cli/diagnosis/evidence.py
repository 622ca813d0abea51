"""What the pods and the events show of a trouble: which pod and container, how it ended, its last line. Pure."""

from collections.abc import Iterator

from pagoda_cli.diagnosis.facts import list_containers
from pagoda_cli.diagnosis.observed import Observed
from pagoda_cli.text import one_line
from pagoda_operator.kube.objects import Object
from pagoda_operator.kube.pods import is_ready, unschedulable_message

LIMIT = 5
LINE_CHARACTERS = 300


def find_evidence(seen: Observed) -> tuple[str, ...]:
    """Returns at most `LIMIT` lines: what failing pods show, then the last warning."""
    pods = [line for pod in seen.pods if not is_ready(pod) for line in _of_pod(seen, pod)]
    return (*pods[: LIMIT - 1], *_last_warning(seen))


def _of_pod(seen: Observed, pod: Object) -> Iterator[str]:
    name = str(pod["metadata"]["name"])
    node = (pod.get("spec") or {}).get("nodeName")
    where = f"pod {name}" + (f" on {node}" if node else "")
    if (unplaced := unschedulable_message(pod)) is not None:
        yield f"{where}: {_cut(unplaced)}"
    for container in list_containers(pod):
        state = container.get("state") or {}
        waiting = state.get("waiting") or {}
        ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated") or {}
        if ended.get("exitCode", 0) != 0:
            line = last_line(ended.get("message", "")) or last_line(seen.logs.get((name, container["name"]), ""))
            how = f"ended with exit code {ended['exitCode']} ({ended.get('reason') or 'Error'})"
            times = f", {container['restartCount']} restarts" if container.get("restartCount") else ""
            yield f"{where}, container {container['name']}: {how}{times}" + (f": {_cut(line)}" if line else "")
        elif waiting.get("reason") not in (None, "PodInitializing", "ContainerCreating"):
            said = f": {_cut(waiting['message'])}" if waiting.get("message") else ""
            yield f"{where}, container {container['name']}: {waiting['reason']}{said}"


def _last_warning(seen: Observed) -> tuple[str, ...]:
    for event in reversed(seen.events):
        if event.get("type") == "Warning":
            about = event.get("involvedObject") or {}
            where = f"{about.get('kind', '')} {about.get('name', '')}".strip()
            return (f"event on {where}: {event.get('reason', '')}: {_cut(event.get('message', ''))}",)
    return ()


def last_line(text: object) -> str:
    """Returns the last line that is not blank."""
    lines = [line.strip() for line in str(text or "").splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _cut(text: object) -> str:
    line = one_line(str(text))
    return line if len(line) <= LINE_CHARACTERS else f"{line[: LINE_CHARACTERS - 1]}…"
