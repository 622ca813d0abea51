"""Rules of the tree that no linter knows."""

import re
import runpy
import shutil
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
RELEASE = runpy.run_path(str(ROOT / ".ci" / "release.py"))


def test_no_folder_shadows_the_standard_library() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()
    assert not (ROOT / "server_image" / "__init__.py").exists()


@pytest.mark.parametrize("kind", ["unit", "property"])
def test_tests_lie_in_the_folder_of_the_package_that_they_test(kind: str) -> None:
    tests = ROOT / "tests" / kind
    folders = {path.parent.relative_to(tests) for path in tests.rglob("test_*.py")} - {Path()}
    for folder in folders:
        assert any((ROOT / source / folder).is_dir() for source in ("operator", "server_image", "")), folder


def test_requirements_are_pinned_with_hashes_and_without_addresses() -> None:
    for path in (ROOT / "requirements").glob("*.txt"):
        text = path.read_text()
        assert "--hash=sha256:" in text
        assert "://" not in text, path.name


@pytest.mark.parametrize("target", ["control", "server"])
def test_an_image_has_a_base_by_digest_packages_by_hash_and_a_bill_of_materials(target: str) -> None:
    text = (ROOT / "server_image" / "Dockerfile").read_text()
    stages = {name: base for base, name in re.findall(r"^FROM (\S+) AS (\S+)$", text, re.MULTILINE)}
    assert len(stages) == len(re.findall("^FROM ", text, re.MULTILINE)), "every stage has a name"
    assert re.search(r"^ARG BASE=\S+@sha256:[0-9a-f]{64}$", text, re.MULTILINE)
    assert set(stages.values()) <= {"${BASE}", *stages}, "every stage begins at the pinned base"
    installs = re.findall(r"pip install ([^\\\n]*)", text)
    assert installs
    assert all("--require-hashes" in flags or "--no-index" in flags for flags in installs)
    bodies = dict(re.findall(r"^FROM \S+ AS (\S+)\n(.*?)(?=^FROM |\Z)", text, re.MULTILINE | re.DOTALL))
    assert "cyclonedx-py environment" in bodies[f"{target}-code"]
    assert f"COPY --from={target}-code /code" in bodies[target]


def read_promised_tests() -> list[str]:
    text = (ROOT / "SECURITY.md").read_text()
    return re.findall(r"`((?:tests|e2e)/[^`]+)`", text)


def test_the_promises_of_security_are_held_by_tests() -> None:
    rows = [line for line in (ROOT / "SECURITY.md").read_text().splitlines() if line.startswith("| ")][1:]
    held = [row for row in rows if "`tests/" in row or "`e2e/" in row]
    assert len(held) >= len(rows) - 2, "all but what the way it is built holds"
    assert len(read_promised_tests()) >= len(held)


@pytest.mark.parametrize("named", read_promised_tests())
def test_a_test_that_security_names_is_there(named: str) -> None:
    path, _, name = named.partition("::")
    text = (ROOT / path).read_text()
    assert re.search(rf"^(async )?def {name or 'test_'}", text, re.MULTILINE)


def test_chart_and_forms_have_the_version_and_the_address_of_the_project() -> None:
    assert RELEASE["find_disagreements"](ROOT) == []


def test_what_disagrees_is_named_with_its_value_and_the_fix(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "helm/pagoda/Chart.yaml", ".github/ISSUE_TEMPLATE/config.yml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    version = RELEASE["read_project"](ROOT)["version"]
    chart = tmp_path / "helm/pagoda/Chart.yaml"
    chart.write_text(chart.read_text().replace(f'appVersion: "{version}"', 'appVersion: "9.8.7"'))
    assert RELEASE["find_disagreements"](tmp_path) == [
        f"helm/pagoda/Chart.yaml: appVersion is '9.8.7': set it to '{version}', as pyproject.toml has it"
    ]


@pytest.mark.parametrize(
    ("section", "fault"),
    [
        ("## [1.2.3] - 2027-01-31\n\n### Added\n\n- A thing.\n", None),
        ("## [1.2.3] - 2027-01-31\n\n## [1.2.2] - 2027-01-30\n\n- A thing.\n", "is empty"),
        ("## [1.2.3] (unreleased)\n\n- A thing.\n", "has no section '## [1.2.3] - YYYY-MM-DD'"),
    ],
)
def test_a_release_has_a_dated_section_of_the_changelog(section: str, fault: str | None) -> None:
    faults = RELEASE["find_changelog_faults"](f"# Changelog\n\n## [Unreleased]\n\n{section}", "1.2.3")
    assert [fault in said for said in faults] == ([True] if fault else []), faults


def test_the_changelog_says_what_is_unreleased() -> None:
    assert "## [Unreleased]\n" in (ROOT / "CHANGELOG.md").read_text()


def test_a_commit_is_checked_by_what_make_check_runs() -> None:
    makefile = (ROOT / "Makefile").read_text()
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    for hook in hooks:
        program, *arguments = hook["entry"].removesuffix(" --force-exclude").split()
        wanted = arguments[0] if program == "make" else " ".join(["$(BIN)/" + Path(program).name, *arguments])
        check = makefile.partition("\ncheck:")[2].partition("\ndocs:")[0]
        assert wanted in check, f"{hook['id']} is not run by `make check`"
