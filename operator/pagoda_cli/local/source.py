"""What `pagoda run` is given: a file, `-` for standard input, a model's URI, `org/name` of a hub, a model's folder."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from pagoda_cli.local.gpus import find_gpus
from pagoda_cli.local.local_folder import SCHEME
from pagoda_cli.local.spec_file import (
    MAX_FILE_BYTES,
    SpecFile,
    SpecFileError,
    parse_content,
    read_spec_file,
    validate_document,
)
from pagoda_cli.secret import shorten
from pagoda_cli.text import one_line, suggest
from pagoda_operator.api.rules import MAX_NAME_LENGTH

STDIN = "-"
YAML_SUFFIXES = (".yaml", ".yml", ".json")
HUB_NAME = re.compile(r"[A-Za-z0-9._-]+/[A-Za-z0-9._-]+(@[A-Za-z0-9._/-]+)?")
BUNDLED = "bundled://pagoda-tiny"
ACCEPTED = f"give a YAML file, '-', a folder with a model, org/name, or a URI such as {BUNDLED}"


@dataclass(frozen=True, slots=True)
class Source:
    """The specification, and the file to follow, if it is one."""

    spec: SpecFile
    file: Path | None = None


def read_source(argument: str) -> Source:
    """Reads what the argument names. Raises SpecFileError, and PlanError where GPUs cannot be counted."""
    try:
        return _read(argument)
    except OSError as error:
        raise SpecFileError(one_line(f"{argument[:253]}: cannot be read: {error.strerror}: {ACCEPTED}")) from error


def _read(argument: str) -> Source:
    if argument == STDIN:
        return Source(parse_content(sys.stdin.buffer.read(MAX_FILE_BYTES + 1), "standard input"))
    if "://" in argument:
        return Source(_describe_model(argument))
    path = Path(argument)
    if path.is_dir():
        return Source(_describe_model(_find_folder(path)))
    if path.exists() or not HUB_NAME.fullmatch(argument) or path.suffix in YAML_SUFFIXES:
        _refuse_absent(argument, path)
        return Source(read_spec_file(path), path)
    return Source(_describe_model(f"hf://{argument}"))


def _refuse_absent(argument: str, path: Path) -> None:
    if path.exists():
        return
    beside = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    near = suggest(path.name, [name for name in beside if name.endswith(YAML_SUFFIXES)])
    if near is not None:
        raise SpecFileError(one_line(f"{argument}: there is no such file: did you mean {path.with_name(near)}?"))
    if suggest(argument, [BUNDLED.partition("://")[2]]) is not None:
        raise SpecFileError(one_line(f"{argument}: there is no such file: did you mean {BUNDLED}?"))
    raise SpecFileError(one_line(f"{argument}: there is no such file: {ACCEPTED}"))


def _find_folder(path: Path) -> str:
    if (path / "config.json").is_file():
        return f"{SCHEME}{path.resolve()}"
    files = sorted(str(entry) for entry in path.iterdir() if entry.name.endswith(YAML_SUFFIXES))
    fix = f"did you mean {files[0]}?" if files else "give the folder of a model, with its config.json"
    raise SpecFileError(one_line(f"{path}: is a folder without a model: {fix}"))


def _describe_model(uri: str) -> SpecFile:
    """Returns the smallest ModelDeployment of a URI, on a GPU if there is one here."""
    scheme, _, rest = uri.partition("://")
    if scheme == "file":
        _refuse_folder(uri, Path(rest))
    path = Path(rest).name if scheme == "file" else rest.partition("@")[0]
    resources = {} if scheme == "bundled" else {"gpus": min(len(find_gpus().names), 1)}
    document = {
        "apiVersion": "pagoda.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": name_deployment(path.rpartition("/")[2])},
        "spec": {"model": {"uri": uri, "name": name_model(path)}, "resources": resources},
    }
    return SpecFile(validate_document(document, shorten(uri)), {})


def _refuse_folder(uri: str, folder: Path) -> None:
    if not folder.is_absolute():
        raise SpecFileError(one_line(f"{uri}: is not absolute: write {SCHEME}{folder.absolute()}"))
    if not folder.is_dir():
        raise SpecFileError(one_line(f"{uri}: there is no such folder: correct the path"))
    _find_folder(folder)


def name_deployment(name: str) -> str:
    """Returns a name that a Service may have, as near as can be."""
    text = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    text = text if text[:1].isalpha() else f"model-{text}"
    return text[:MAX_NAME_LENGTH].strip("-")


def name_model(name: str) -> str:
    text = re.sub(r"[^A-Za-z0-9._:/-]+", "-", name).lstrip("._:/-")
    return text[:128] or "model"
