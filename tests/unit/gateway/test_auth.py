import os
from pathlib import Path

import pytest

from pagoda_gateway import auth
from pagoda_gateway.auth import ANONYMOUS, KeyRing


def write_secret(directory: Path, version: str, **keys: str) -> None:
    """As the kubelet does it: a new folder, then the `..data` link swapped."""
    (directory / version).mkdir()
    for tenant, key in keys.items():
        (directory / version / tenant).write_text(key)
        if not (directory / tenant).is_symlink():
            (directory / tenant).symlink_to(f"..data/{tenant}")
    (directory / "..tmp").symlink_to(version)
    os.replace(directory / "..tmp", directory / "..data")


def test_key_names_its_tenant(tmp_path: Path) -> None:
    write_secret(tmp_path, "..1", alice="sk-a\n", bob="sk-b")
    ring = KeyRing(tmp_path)
    assert ring.tenant_of("Bearer sk-a") == "alice"
    assert ring.tenant_of("bearer sk-b") == "bob"


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic sk-a", "sk-a", "Bearer sk-", "Bearer sk-aa"])
def test_anything_but_a_whole_key_is_refused(tmp_path: Path, header: str | None) -> None:
    write_secret(tmp_path, "..1", alice="sk-a")
    assert KeyRing(tmp_path).tenant_of(header) is None


def test_empty_directory_refuses_everyone(tmp_path: Path) -> None:
    assert KeyRing(tmp_path).tenant_of("Bearer x") is None


def test_empty_file_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "alice").write_text("\n")
    assert KeyRing(tmp_path).tenant_of("Bearer ") is None


def test_missing_directory_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        KeyRing(tmp_path / "absent")


def test_without_a_directory_everyone_is_anonymous() -> None:
    assert KeyRing(None).tenant_of(None) == ANONYMOUS


def test_all_keys_are_walked_whichever_matches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_secret(tmp_path, "..1", a="1", b="2", c="3")
    ring, compared = KeyRing(tmp_path), []
    real = auth.hmac.compare_digest
    monkeypatch.setattr(auth.hmac, "compare_digest", lambda x, y: compared.append(x) or real(x, y))
    assert ring.tenant_of("Bearer 1") == "a"
    assert len(compared) == 3


def test_swapped_secret_is_reloaded(tmp_path: Path) -> None:
    write_secret(tmp_path, "..1", alice="old")
    ring = KeyRing(tmp_path)
    assert ring.reload() is False
    write_secret(tmp_path, "..2", alice="new")
    assert ring.reload() is True
    assert (ring.tenant_of("Bearer old"), ring.tenant_of("Bearer new")) == (None, "alice")


def test_file_written_in_place_is_reloaded(tmp_path: Path) -> None:
    (tmp_path / "alice").write_text("old")
    ring = KeyRing(tmp_path)
    (tmp_path / "alice").write_text("newer")
    assert ring.reload() is True
    assert ring.tenant_of("Bearer newer") == "alice"
