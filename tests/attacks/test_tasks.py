"""Rule 2: no long-lived task ends unnoticed, for one place starts them all."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAMS = [ROOT / "operator", ROOT / "server_image"]
STARTER = ROOT / "server_image" / "pagoda_guard" / "tasks.py"
STARTS_TASKS = {"create_task", "ensure_future"}
THREADS = {
    "pagoda_operator/cluster/watch.py": "Kopf's, with a loop of its own: its end is awaited, and another is begun",
    "pagoda_guard/parent.py": "looks after the parent where the kernel does not",
    "pagoda_server/parallel/channel.py": "waits for the end of another rank and then ends this one",
    "pagoda_server/engine/loop.py": "the engine's: its failure is kept and ends the process",
    "pagoda_server/grammar/attempt.py": "compiles in a fork that tries one grammar, and is joined there",
    "pagoda_server/grammar/trials.py": "speak with the process that tries grammars; a failing message is logged",
    "pagoda_server/grammar/workers.py": "compiles grammars; each one's failure is logged, and is that grammar's alone",
    "pagoda_cli/fetch/progress.py": "shows a download's progress and is joined when that ends",
    "pagoda_cli/remote/port_forward.py": "runs the loop of a port-forward and is joined when that closes",
    "pagoda_cli/remote/log_stream.py": "reads one container's log; whoever follows it begins again where it has ended",
}


def calls(path: Path) -> Iterator[tuple[int, str]]:
    """Line and name of each call."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            function = node.func
            name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            yield node.lineno, name


def sources() -> Iterator[Path]:
    for folder in PROGRAMS:
        yield from (path for path in folder.rglob("*.py") if path != STARTER)


def test_only_the_guard_starts_tasks() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}" for path in sources() for line, name in calls(path) if name in STARTS_TASKS
    ]
    assert not found, "start it by pagoda_guard.tasks.Tasks"


def test_every_thread_is_known_and_says_who_notices_its_end() -> None:
    started = {path.as_posix() for path in sources() for _, name in calls(path) if name == "Thread"}
    unknown = [path for path in started if not any(path.endswith(known) for known in THREADS)]
    assert not unknown
    assert len(started) == len(THREADS), "a thread that is gone is still listed"


def test_the_walk_sees_what_it_looks_for() -> None:
    names = {name for _, name in calls(STARTER)}
    assert "create_task" in names
