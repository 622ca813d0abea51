"""What must hold before a release is tagged: `python .ci/release.py [TAG]`, by `make release-check`.

The version and the address of the repository stand in pyproject.toml; whatever repeats them must agree. It changes
nothing: each fault is one line that names the place, the value and the fix.
"""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import version as read_installed_version
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]


def main(tag: str | None) -> int:
    version = read_project(ROOT)["version"]
    faults = [
        *find_disagreements(ROOT),
        *find_installed_fault(version),
        *find_tag_fault(tag, version),
        *find_changelog_faults((ROOT / "CHANGELOG.md").read_text(), version),
        *find_uncommitted(ROOT),
    ]
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


def read_project(root: Path) -> dict[str, str]:
    """Returns the version and the repository's address, `source`, of pyproject.toml."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    return {"version": project["version"], "source": project["urls"]["Source"]}


def find_disagreements(root: Path) -> list[str]:
    """Returns the fields of the chart and of the issue forms that differ from pyproject.toml."""
    project = read_project(root)
    chart = yaml.safe_load((root / "helm/pagoda/Chart.yaml").read_text())
    forms = yaml.safe_load((root / ".github/ISSUE_TEMPLATE/config.yml").read_text())
    fields = [
        ("helm/pagoda/Chart.yaml: version", chart["version"], project["version"]),
        ("helm/pagoda/Chart.yaml: appVersion", chart["appVersion"], project["version"]),
        ("helm/pagoda/Chart.yaml: home", chart["home"], project["source"]),
        ("helm/pagoda/Chart.yaml: sources", chart["sources"], [project["source"]]),
        (
            ".github/ISSUE_TEMPLATE/config.yml: contact_links[0].url",
            forms["contact_links"][0]["url"],
            f"{project['source']}/security/policy",
        ),
    ]
    return [
        f"{place} is {value!r}: set it to {wanted!r}, as pyproject.toml has it"
        for place, value, wanted in fields
        if value != wanted
    ]


def find_installed_fault(version: str) -> list[str]:
    installed = read_installed_version("pagoda")
    return [] if installed == version else [f"`pagoda version` is {installed}, not {version}: run `make setup`"]


def find_tag_fault(tag: str | None, version: str) -> list[str]:
    if tag in (None, f"v{version}"):
        return []
    return [f"the tag is {tag}, and pyproject.toml: version is {version}: tag v{version}, or change the version"]


def find_changelog_faults(text: str, version: str) -> list[str]:
    """Returns what is wrong with the sections of CHANGELOG.md: one for what comes next, one for `version`."""
    faults = []
    if not re.search(r"^## \[Unreleased\]$", text, re.MULTILINE):
        faults.append("CHANGELOG.md has no section '## [Unreleased]': add it on top, empty")
    section = re.search(
        rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$(.*?)(^## |\Z)", text, re.MULTILINE | re.DOTALL
    )
    if section is None:
        faults.append(f"CHANGELOG.md has no section '## [{version}] - YYYY-MM-DD': move what is unreleased there")
    elif not re.search(r"^- ", section[1], re.MULTILINE):
        faults.append(f"CHANGELOG.md: section {version} is empty: say what users will notice")
    return faults


def find_uncommitted(root: Path) -> list[str]:
    command = ["git", "-C", str(root), "status", "--porcelain"]
    changed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [f"{line[3:]} is not committed: commit it, or take it away" for line in changed]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else None))
