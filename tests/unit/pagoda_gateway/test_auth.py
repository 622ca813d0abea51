import hmac
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pagoda_gateway import auth
from pagoda_gateway.auth import ANONYMOUS, KEY_LIMIT_BYTES, KeyRing

ALICE, BOB = "key-of-alice", "key-of-bob"


def write_secret(directory: Path, version: str, **keys: str) -> None:
    """As the kubelet does it: a new folder, then the `..data` link swapped."""
    (directory / version).mkdir()
    for tenant, key in keys.items():
        (directory / version / tenant).write_text(key)
        if not (directory / tenant).is_symlink():
            (directory / tenant).symlink_to(f"..data/{tenant}")
    (directory / "..tmp").symlink_to(version)
    os.replace(directory / "..tmp", directory / "..data")


def reason_of(ring: KeyRing) -> list[str]:
    return [reason for reason, count in ring.count_refused().items() if count]


def test_key_names_its_tenant(tmp_path: Path) -> None:
    write_secret(tmp_path, "..1", alice=f"{ALICE}\n", bob=BOB)
    ring = KeyRing(tmp_path)
    assert ring.tenant_of(f"Bearer {ALICE}") == "alice"
    assert ring.tenant_of(f"bearer {BOB}") == "bob"


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", f"Basic {ALICE}", ALICE, "Bearer key-of-", f"Bearer {ALICE}a", "Bearer \udcff"],
)
def test_anything_but_a_whole_key_is_refused(tmp_path: Path, header: str | None) -> None:
    write_secret(tmp_path, "..1", alice=ALICE)
    assert KeyRing(tmp_path).tenant_of(header) is None


@pytest.mark.parametrize(
    ("authorization", "api_key", "tenant"),
    [
        (None, ALICE, "alice"),
        (f"Bearer {ALICE}", ALICE, "alice"),
        (f"Bearer {ALICE}", "", "alice"),
        ("Basic abc", ALICE, "alice"),
        (f"Bearer {ALICE}", BOB, None),
        (f"Bearer {ALICE}", "wrong", None),
        ("Bearer wrong", ALICE, None),
        (None, " ", None),
    ],
)
def test_a_bare_key_counts_as_a_bearer_key_and_of_two_both_must_be_the_tenants(
    tmp_path: Path, authorization: str | None, api_key: str, tenant: str | None
) -> None:
    write_secret(tmp_path, "..1", alice=ALICE, bob=BOB)
    assert KeyRing(tmp_path).tenant_of(authorization, api_key) == tenant


def test_empty_directory_refuses_everyone(tmp_path: Path) -> None:
    assert KeyRing(tmp_path).tenant_of("Bearer x") is None


def test_missing_directory_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        KeyRing(tmp_path / "absent")


def test_without_a_directory_everyone_is_anonymous() -> None:
    assert KeyRing(None).tenant_of(None) == ANONYMOUS


def test_all_keys_are_walked_whichever_matches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_secret(tmp_path, "..1", a="key-number-1", b="key-number-2", c="key-number-3")
    ring, real = KeyRing(tmp_path), hmac.compare_digest
    compared: list[bytes] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(one)
        return real(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert ring.tenant_of("Bearer key-number-1") == "a"
    assert len(compared) == 3


def test_swapped_secret_is_reloaded(tmp_path: Path) -> None:
    write_secret(tmp_path, "..1", alice="the-old-key")
    ring = KeyRing(tmp_path)
    assert ring.reload() is False
    write_secret(tmp_path, "..2", alice="the-new-key")
    assert ring.reload() is True
    assert (ring.tenant_of("Bearer the-old-key"), ring.tenant_of("Bearer the-new-key")) == (None, "alice")


def test_file_written_in_place_is_reloaded_even_with_the_same_size_and_time(tmp_path: Path) -> None:
    path = tmp_path / "alice"
    path.write_text("the-old-key")
    before = path.stat()
    ring = KeyRing(tmp_path)
    with path.open("r+") as file:
        file.write("the-new-key")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert ring.reload() is True
    assert (ring.tenant_of("Bearer the-old-key"), ring.tenant_of("Bearer the-new-key")) == (None, "alice")


def test_a_revoked_key_beside_a_dangling_link_is_out_and_the_others_stay(tmp_path: Path) -> None:
    write_secret(tmp_path, "..1", alice=ALICE, bob=BOB)
    ring = KeyRing(tmp_path)
    write_secret(tmp_path, "..2", bob=BOB)
    assert (tmp_path / "alice").is_symlink()
    ring.reload()
    assert (ring.tenant_of(f"Bearer {ALICE}"), ring.tenant_of(f"Bearer {BOB}")) == (None, "bob")
    assert reason_of(ring) == ["unreadable"]


@pytest.mark.parametrize("becomes", ["gone", "a file", "a dangling link"])
def test_nobody_is_let_in_while_the_folder_cannot_be_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, becomes: str
) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "alice").write_text(ALICE)
    ring = KeyRing(keys)
    keys.rename(tmp_path / "aside")
    if becomes == "a file":
        keys.write_text("")
    elif becomes == "a dangling link":
        keys.symlink_to("nowhere")
    for _ in range(3):
        ring.reload()
    assert ring.tenant_of(f"Bearer {ALICE}") is None and not ring.readable
    assert [record.levelname for record in caplog.records].count("ERROR") == 1
    assert reason_of(ring) == ["folder_unreadable"]
    keys.unlink(missing_ok=True)
    (tmp_path / "aside").rename(keys)
    assert ring.reload() is True
    assert ring.tenant_of(f"Bearer {ALICE}") == "alice" and ring.readable


def write(raw: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(raw)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (write(b"\n"), "empty"),
        (write(b"x"), "too_short"),
        (write(b"1234567\n"), "too_short"),
        (write(b"k" * (KEY_LIMIT_BYTES + 1)), "too_long"),
        (write(b"k" * 10_000_000), "too_long"),
        (write(b"one-line-1\nanother-1"), "not_text"),
        (write(b"\x00" * 32), "not_text"),
        (write(b"abcdefgh\x7f"), "not_text"),
        (write(b"\xff\xfe" * 16), "not_text"),
        (lambda path: path.symlink_to(path), "unreadable"),
    ],
)
def test_what_is_no_key_is_refused_by_its_tenants_name_and_never_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, make: Callable[[Path], object], reason: str
) -> None:
    caplog.set_level(logging.INFO)
    make(tmp_path / "alice")
    (tmp_path / "bob").write_text(BOB)
    ring = KeyRing(tmp_path)
    ring.reload()
    assert ring.tenant_of(f"Bearer {BOB}") == "bob" and reason_of(ring) == [reason]
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1 and "tenant=alice" in warnings[0] and reason in warnings[0]
    assert not any(secret in caplog.text for secret in (BOB, "one-line", "abcdefgh", "1234567"))
    if (tmp_path / "alice").is_file() and (raw := (tmp_path / "alice").read_bytes().strip()):
        assert ring.tenant_of(f"Bearer {raw.decode('utf-8', 'surrogateescape')}") is None


def test_a_key_of_two_tenants_lets_neither_in(tmp_path: Path) -> None:
    for tenant in ("alice", "bob"):
        (tmp_path / tenant).write_text("the-same-key")
    (tmp_path / "carol").write_text("another-key")
    ring = KeyRing(tmp_path)
    assert ring.tenant_of("Bearer the-same-key") is None and ring.tenant_of("Bearer another-key") == "carol"
    assert ring.count_refused()["shared"] == 2


def test_folders_and_pipes_are_no_keys_and_hold_nothing_up(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "bob").write_text(BOB)
    ring = KeyRing(tmp_path)
    assert ring.tenant_of(f"Bearer {BOB}") == "bob" and reason_of(ring) == []


async def test_a_watch_that_fails_for_any_reason_lets_nobody_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bob").write_text(BOB)
    ring = KeyRing(tmp_path)
    monkeypatch.setattr(auth, "read_keys", lambda directory: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        await ring.watch(0.0, lambda: None)
    assert ring.tenant_of(f"Bearer {BOB}") is None and not ring.readable
