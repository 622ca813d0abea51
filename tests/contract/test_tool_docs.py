"""The pages about the tool are what their generators write, and each reason's link has a place to arrive at."""

import runpy
from pathlib import Path

import pytest
import yaml

from pagoda_operator.api.documents import build_reason_url
from pagoda_operator.api.reasons import Reason

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("generator", "writes"), [("generate_cli.py", "write_reference"), ("generate_troubleshooting.py", "write_page")]
)
def test_a_page_is_what_its_generator_writes(generator: str, writes: str) -> None:
    found = runpy.run_path(str(ROOT / "docs" / "reference" / generator))
    assert found["TARGET"].read_text() == found[writes](), f"run: python docs/reference/{generator}"


def test_the_link_of_each_reason_that_is_a_trouble_arrives_at_its_heading() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    anchors = {line.removeprefix("## ").lower() for line in page.splitlines() if line.startswith("## ")}
    good = runpy.run_path(str(ROOT / "docs/reference/generate_troubleshooting.py"))["GOOD"]
    for reason in (reason for reason in Reason if reason not in good):
        path, _, anchor = build_reason_url(reason).partition("#")
        assert path.endswith("docs/troubleshooting.md")
        assert anchor in anchors


def test_what_packages_are_built_is_said_by_the_project() -> None:
    packages = runpy.run_path(str(ROOT / ".ci" / "packages.py"))
    archive = ROOT / "LICENSE"
    project = {"version": "1.2.3", "urls": {"Source": "https://example.com/p", "Issues": "https://example.com/i"}}
    manifest = yaml.safe_load(yaml.safe_dump(packages["build_krew_manifest"](project, archive, "amd64")))
    (platform,) = manifest["spec"]["platforms"]
    assert manifest["spec"]["version"] == "v1.2.3"
    assert platform["uri"] == "https://example.com/p/releases/download/v1.2.3/LICENSE"
    assert len(platform["sha256"]) == 64
    assert platform["bin"].removeprefix("bin/") in packages["COMMANDS"]
    control = packages["build_control"](project, "arm64", 12).splitlines()
    assert {"Package: pagoda", "Version: 1.2.3", "Architecture: arm64", f"Depends: {packages['PYTHON']}"} <= set(
        control
    )


def test_every_command_of_the_packages_is_one_of_the_wheel() -> None:
    import tomllib

    packages = runpy.run_path(str(ROOT / ".ci" / "packages.py"))
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert set(packages["COMMANDS"]) == set(scripts)
