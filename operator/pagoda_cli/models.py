"""Models on this machine: those that are shipped, those that `pagoda run` keeps, and what can be told of a URI."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from pagoda_cli.fetch.model import MARKER, fetch_model
from pagoda_cli.fetch.model_uri import FetchError, parse_uri
from pagoda_cli.fetch.progress import count_bytes
from pagoda_cli.local.generation import model_folder
from pagoda_cli.text import one_line

JUDGE = """\
import sys
from pathlib import Path
from pagoda_server.model.config import UnsupportedModel, read_model_config
try:
    found = read_model_config(Path(sys.argv[1]))
except UnsupportedModel as error:
    sys.exit(f"no: {error}")
print(f"{found.architecture}, {found.num_layers} layers")
"""
JUDGE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class KeptModel:
    """A model's files on this machine. An incomplete one is of a fetch that did not end."""

    uri: str
    folder: Path
    size_bytes: int
    is_complete: bool
    is_shipped: bool = False


def cache_folder() -> Path:
    """Returns the folder below which `pagoda run` keeps models."""
    return model_folder("bundled://any").parent


def list_models() -> list[KeptModel]:
    """Returns the shipped models, then the kept ones, largest first."""
    kept = sorted(_list_kept(), key=lambda model: (-model.size_bytes, model.uri))
    return [*_list_shipped(), *kept]


def _list_shipped() -> Iterator[KeptModel]:
    try:
        entries = sorted(Path(str(entry)) for entry in resources.files("sample_model").iterdir())
    except ModuleNotFoundError:
        return
    for folder in entries:
        if (folder / "config.json").is_file():
            yield KeptModel(f"bundled://{folder.name}", folder, count_bytes(folder), True, is_shipped=True)


def _list_kept() -> Iterator[KeptModel]:
    try:
        folders = [entry for entry in cache_folder().iterdir() if entry.is_dir() and not entry.is_symlink()]
    except OSError:
        return
    for folder in folders:
        marker = folder / MARKER
        try:
            uri = one_line(marker.read_text(encoding="utf-8", errors="replace")).partition(" ")[0]
        except OSError:
            uri = ""
        yield KeptModel(uri or f"(incomplete) {folder.name}", folder, count_bytes(folder), bool(uri))


def find_kept(name: str) -> KeptModel | None:
    """Returns the kept model of that URI, or of that folder's name."""
    return next((model for model in _list_kept() if name in (model.uri, model.folder.name)), None)


def remove(model: KeptModel) -> None:
    """Removes a kept model's files. Raises OSError."""
    shutil.rmtree(model.folder)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What can be told of a URI before anything large is fetched."""

    uri: str
    files: tuple[tuple[str, int], ...]
    total_bytes: int
    commit: str
    model: str
    """Its architecture and layers; empty where it cannot be served, and then `problem` says why."""
    problem: str


def check_uri(uri: str) -> Verdict:
    """Returns what can be told of a model: its files, and whether its configuration is served. Raises FetchError."""
    parsed = parse_uri(uri)
    if parsed.scheme == "pvc":
        raise FetchError("ModelNotFound", f"URI {uri} is a claim of a cluster: it can be judged there only")
    with tempfile.TemporaryDirectory(prefix="pagoda-check-") as text:
        folder = Path(text)
        if parsed.scheme == "hf":
            from pagoda_cli.fetch import hub
            from pagoda_cli.fetch.listing import Snapshot

            snapshot = hub.list_snapshot(parsed)
            files = tuple((file.name, file.size_bytes) for file in snapshot.files)
            small = tuple(file for file in snapshot.files if file.name.endswith(".json"))
            commit = snapshot.commit
            hub.fetch_snapshot(parsed, Snapshot(commit, small, snapshot.names), folder)
        else:
            fetch_model(uri, folder, lambda line: None)
            found = [path for path in folder.iterdir() if path.is_file() and path.name != MARKER]
            files, commit = tuple((path.name, path.stat().st_size) for path in found), ""
        model, problem = _judge(folder)
    ordered = tuple(sorted(files, key=lambda file: (-file[1], file[0])))
    return Verdict(uri, ordered, sum(size for _, size in files), commit, model, problem)


def _judge(folder: Path) -> tuple[str, str]:
    """Returns what the server's own reader says of a configuration. NB: in a process, for the tool knows no server."""
    command = [sys.executable, "-c", JUDGE, str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=JUDGE_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", f"not judged: {error}"
    if done.returncode == 0:
        return done.stdout.strip(), ""
    last = one_line((done.stderr.strip().splitlines() or ["it said nothing"])[-1])
    return "", last.removeprefix("no: ") if last.startswith("no: ") else f"not judged: {last}"
