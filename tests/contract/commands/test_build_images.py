"""`make images`: what it asks the builder for, and what it refuses. The builder stands in: it notes what it is told."""

import os
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "server_image" / "build-images.sh"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
BUILDER = """#!/bin/sh
echo "$@" >> "$NOTES"
[ "$1" != image ] || echo 310000000
"""


@pytest.fixture
def builder(tmp_path: Path) -> Path:
    path = tmp_path / "builder"
    path.write_text(BUILDER)
    path.chmod(0o755)
    return path


def build(builder: Path, *targets: str, **variables: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Returns how the script ended, and what the builder was told."""
    notes = builder.with_name("notes")
    environ = {"PATH": os.environ["PATH"], "NOTES": str(notes), "BUILDER": str(builder), **variables}
    done = subprocess.run([SCRIPT, *targets], env=environ, capture_output=True, text=True, check=False)
    return done, notes.read_text().splitlines() if notes.exists() else []


def test_both_images_are_built_with_the_charts_names_and_nothing_is_pushed(builder: Path) -> None:
    done, told = build(builder)
    assert done.returncode == 0, done.stderr
    names = [f"ghcr.io/pagoda-dev/pagoda:{VERSION}", f"ghcr.io/pagoda-dev/pagoda-server:{VERSION}"]
    builds = [line for line in told if line.startswith("build ")]
    assert [f"--tag {name} " in line for name, line in zip(names, builds, strict=True)] == [True, True]
    assert all(f"VERSION={VERSION}" in line and "REVISION=" in line for line in builds)
    assert not [line for line in told if line.startswith("push")]
    assert f"{names[0]}  310 MB" in done.stdout and f"kind load docker-image {' '.join(names)}" in done.stdout


def test_both_images_are_pushed_where_one_says_to(builder: Path) -> None:
    done, told = build(builder, REGISTRY="registry.example.com/team", TAG="v9", PUSH="1", PUSH_FLAGS="--a")
    pushed = [line for line in told if line.startswith("push")]
    assert pushed == [f"push --a registry.example.com/team/{name}:v9" for name in ("pagoda", "pagoda-server")]
    assert "--set image.control.tag=v9" in done.stdout


def test_a_flag_in_quotes_is_one(builder: Path) -> None:
    _, told = build(builder, "server", BUILD_FLAGS="--build-arg 'COMPILER=gcc libc6-dev'", PLATFORM="linux/amd64")
    (line,) = (line for line in told if line.startswith("build "))
    assert "--target server " in line and "--platform linux/amd64 --build-arg COMPILER=gcc libc6-dev" in line


@pytest.mark.parametrize(
    ("targets", "variables", "said"),
    [
        ((), {"PUSH": "1"}, "REGISTRY is not"),
        ((), {"BUILDER": "no-such-builder"}, "BUILDER is no-such-builder, which is not installed"),
        (("gateway",), {}, "there is no image gateway"),
    ],
)
def test_what_cannot_be_done_is_said(
    builder: Path, targets: tuple[str, ...], variables: dict[str, str], said: str
) -> None:
    done, told = build(builder, *targets, **variables)
    assert done.returncode == 1 and said in done.stderr and told == []


def test_without_any_builder_the_fix_is_said(builder: Path, tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "dirname", "sed", "git", "xargs"):
        (programs / name).symlink_to(str(shutil.which(name)))
    done, _ = build(builder, BUILDER="", PATH=str(programs))
    assert done.returncode == 1 and "install one" in done.stderr
