"""Rules of the tree that no linter knows."""

from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_no_folder_shadows_the_standard_library() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()
    assert not (ROOT / "server_image" / "__init__.py").exists()


def test_requirements_are_pinned_with_hashes_and_without_addresses() -> None:
    for path in (ROOT / "requirements").glob("*.txt"):
        text = path.read_text()
        assert "--hash=sha256:" in text
        assert "://" not in text, path.name
