"""The pages about the tool are what their generators write, and each reason's link has a place to arrive at."""

import re
import runpy
from pathlib import Path

import yaml

from pagoda_cli.diagnosis.causes import OWN_REASONS
from pagoda_operator.api.documents import DOCS_URL, build_reason_url
from pagoda_operator.api.reasons import Reason

ROOT = Path(__file__).parents[2]


def test_the_reference_of_commands_is_what_its_generator_writes() -> None:
    found = runpy.run_path(str(ROOT / "docs/reference/generate_cli.py"))
    assert found["TARGET"].read_text() == found["write_reference"](), "run: python docs/reference/generate_cli.py"


def test_every_reason_has_a_section_that_its_address_leads_to_and_no_other_word_has_one() -> None:
    sections = re.findall(r"^### (\w+)$", (ROOT / "docs/troubleshooting.md").read_text(), re.MULTILINE)
    reasons = [*(reason.value for reason in Reason), *OWN_REASONS]
    assert sorted(sections) == sorted(reasons)
    assert {build_reason_url(reason) for reason in reasons} == {
        f"{DOCS_URL}/troubleshooting.md#{section.lower()}" for section in sections
    }


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
