"""Whatever a name spells, nothing is written outside the run's folder."""

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagoda_cli.local.private_files import write_private

PARTS = st.sampled_from(["..", ".", "", "a", "\0", "b", "/", "..data", "\\", "a" * 300]) | st.text(max_size=5)


def list_tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "", ".", "..", "a/", "a//b", "a\0b", "./x"])
def test_a_name_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "root").mkdir()
    with pytest.raises(OSError, match="is no path below"):
        write_private(tmp_path / "root", name, b"x")
    assert list_tree(tmp_path) == {"root"}


@settings(deadline=None)
@given(st.lists(PARTS, max_size=5).map("/".join))
def test_any_name_writes_below_the_folder_or_nothing(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    above = tmp_path_factory.mktemp("above")
    (above / "root").mkdir()
    try:
        write_private(above / "root", name, b"x")
    except (OSError, UnicodeEncodeError):
        assert not any(path.is_file() for path in above.rglob("*"))
    else:
        assert (above / "root" / name).read_bytes() == b"x"
    assert {path.name for path in above.iterdir()} == {"root"}


@pytest.mark.parametrize("name", ["link/x", "file-link"])
def test_a_link_is_not_followed(tmp_path: Path, name: str) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "link").symlink_to(outside)
    (root / "file-link").symlink_to(outside / "file")
    with contextlib.suppress(OSError):
        write_private(root, name, b"x")
    assert list_tree(outside) == set()


def test_files_and_folders_are_the_owners_alone_and_stay_as_they_are(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_private(tmp_path, "keys/team", b"first")
    finally:
        os.umask(before)
    write_private(tmp_path, "keys/team", b"second")
    assert (tmp_path / "keys/team").read_bytes() == b"first"
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "keys/team").stat().st_mode & 0o777 == 0o600
