"""Rules of the tree that no linter knows."""

import ast
import re
import runpy
import shutil
from collections.abc import Iterator
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
    for path in (ROOT / "requirements").rglob("*.txt"):
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


def read_cells(text: str) -> Iterator[str]:
    """Yields the cells of the tables of a page; a link counts as what it shows."""
    for line in text.splitlines():
        if line.startswith("| "):
            yield from re.sub(r"\]\([^)]*\)", "]", line).strip("| ").split(" | ")


def test_a_cell_of_the_readme_is_read_at_a_glance() -> None:
    cells = list(read_cells((ROOT / "README.md").read_text()))
    assert len(cells) > 20
    assert [cell for cell in cells if len(cell.split()) > 25] == []


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


def list_docstrings() -> Iterator[tuple[Path, str]]:
    for root in ("operator", "server_image", "bench", "e2e", "helm", "tests"):
        for path in (ROOT / root).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (text := ast.get_docstring(node)):
                    yield path, text


def test_a_docstring_is_a_sentence_about_its_function() -> None:
    of = [f"{path.relative_to(ROOT)}: {text}" for path, text in list_docstrings() if text.startswith("Of ")]
    assert of == []


PRODUCT = ("operator", "server_image", "helm", "docs", "crds")


def list_product_folders() -> list[str]:
    roots = [ROOT / name for name in ("operator", "server_image", "bench", "helm")]
    return sorted({path.parent.relative_to(ROOT).as_posix() for root in roots for path in root.rglob("*.py")})


@pytest.mark.parametrize("folder", list_product_folders())
def test_the_source_map_names_every_folder(folder: str) -> None:
    assert f"`{folder}`" in (ROOT / "ARCHITECTURE.md").read_text()


def list_source_map_rows() -> list[tuple[str, str]]:
    """Returns the folder of each row of the source map, and a file that the row names."""
    text = (ROOT / "ARCHITECTURE.md").read_text().partition("## Source map")[2]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if "| `" in line]
    return [
        (row[0].split("`")[1], name) for row in rows for name in re.findall(r"`([\w/]+\.(?:py|yaml|json))`", row[-1])
    ]


@pytest.mark.parametrize(("folder", "name"), list_source_map_rows())
def test_a_file_that_the_source_map_names_is_there(folder: str, name: str) -> None:
    places = [ROOT / folder / name, ROOT / name, ROOT / "helm" / "pagoda" / name]
    assert any(place.is_file() for place in places)


def read_walks() -> list[tuple[list[str], list[str]]]:
    """Returns the words and the paths of each walk of CONTRIBUTING.md."""
    text = (ROOT / "CONTRIBUTING.md").read_text().partition("## Five walks")[2].partition("\n## ")[0]
    rows = [line.strip("|").split(" | ") for line in text.splitlines() if line.startswith("| a")]
    return [(re.findall("`([^`]+)`", row[1]), re.findall("`([^`]+/[^`]+)`", row[2])) for row in rows]


def has_word(path: Path, words: list[str]) -> bool:
    """Returns whether a file has one of the words, also as a part of a name that underscores join."""
    text = path.read_text(errors="replace")
    return any(re.search(rf"(?<![A-Za-z]){re.escape(word)}(?![A-Za-z])", text) for word in words)


def test_there_are_five_walks() -> None:
    assert len(read_walks()) == 5


@pytest.mark.parametrize(("words", "paths"), read_walks(), ids=lambda value: value[0] if len(value) == 1 else None)
def test_a_walk_passes_each_file_that_has_its_word(words: list[str], paths: list[str]) -> None:
    suffixes = {".py", ".md", ".json", ".yaml", ".tpl", ".txt"}
    files = [path for root in PRODUCT for path in (ROOT / root).rglob("*") if path.suffix in suffixes]
    found = {path.relative_to(ROOT).as_posix() for path in files if has_word(path, words)}
    generators = {path for path in paths if Path(path).name.startswith("generate_")}
    assert found == {path for path in paths if path.split("/")[0] in PRODUCT} - generators
    for path in paths:
        assert path in generators or has_word(ROOT / path, words), path


def read_vocabulary() -> list[tuple[str, str, str]]:
    """Returns the folders, our word and the place of each row of the vocabulary."""
    rows = []
    for section in (ROOT / "docs/concepts/vocabulary.md").read_text().split("\n## ")[1:]:
        folders = next((line for line in section.splitlines() if line.startswith("`")), "")
        cells = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")][1:]
        rows += [(folders, row[0], row[2]) for row in cells if folders]
    return rows


@pytest.mark.parametrize(("folders", "word", "place"), read_vocabulary())
def test_a_word_of_the_vocabulary_is_where_it_says(folders: str, word: str, place: str) -> None:
    roots = [ROOT / folder for folder in re.findall("`([^`]+)`", folders)]
    names = re.findall(r"`([\w./]+(?:\.py|/\w+))`", place)
    files = [root / name for root in roots for name in names if (root / name).exists()]
    assert len(files) >= len(names)
    source = "".join(path.read_text() for root in roots for path in root.rglob("*.py"))
    for name in re.findall(r"`(\w+)(?:\.\w+)?`", word):
        assert re.search(rf"\b{name}\b", source), name
