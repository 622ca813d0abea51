"""Who is asking: keys from a mounted Secret, one file per tenant.

Keys are kept as digests only, compared in constant time and all of them walked, so that neither the time taken nor a
dump of the memory tells a key. It must never log a key, and never let anyone in by a key that cannot be read any more:
a file that fails takes its tenant out, a folder that fails takes all of them out, until they can be read again.
"""

import asyncio
import hashlib
import hmac
import logging
import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

log = logging.getLogger(__name__)

TENANT_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,252}")
ANONYMOUS = "anonymous"
KEY_LIMIT_BYTES = 4096
SHORTEST_KEY_CHARACTERS = 8
PRINTABLE = re.compile(rb"[ -~]+")

Refused = Literal["unreadable", "empty", "too_long", "not_text", "too_short", "shared", "folder_unreadable"]
MEANINGS: Mapping[Refused, str] = {
    "unreadable": "its file cannot be read",
    "empty": "its file is empty",
    "too_long": f"a key has at most {KEY_LIMIT_BYTES} bytes",
    "not_text": "a key is one line of printable ASCII",
    "too_short": f"a key has at least {SHORTEST_KEY_CHARACTERS} characters; make one with 'openssl rand -hex 32'",
    "shared": "another tenant has the same key; give each its own",
    "folder_unreadable": "the folder of keys cannot be read",
}


@dataclass(frozen=True, slots=True)
class Keys:
    digests: tuple[tuple[str, bytes], ...] = ()
    refused: tuple[tuple[str, Refused], ...] = ()
    """Tenants whose key is not accepted, and why."""
    readable: bool = True

    def tenant_of(self, token: str) -> str | None:
        offered = _digest(token.encode("utf-8", "surrogateescape"))
        found = None
        for tenant, digest in self.digests:
            if hmac.compare_digest(digest, offered):
                found = tenant
        return found


UNREADABLE = Keys(refused=(("", "folder_unreadable"),), readable=False)


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def judge_key(key: bytes) -> Refused | None:
    """Returns why this is no key, None when it is one."""
    if not key:
        return "empty"
    if len(key) > KEY_LIMIT_BYTES:
        return "too_long"
    if not PRINTABLE.fullmatch(key):
        return "not_text"
    return "too_short" if len(key) < SHORTEST_KEY_CHARACTERS else None


def read_key_file(path: Path) -> bytes | None:
    """Returns a little more than a key may have, None for what is no file.

    NB: it never waits, as a named pipe would make it.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        return os.read(descriptor, KEY_LIMIT_BYTES + 2).strip() if is_file else None
    finally:
        os.close(descriptor)


def read_entries(directory: Path) -> Iterator[tuple[str, bytes | Refused]]:
    """Yields each tenant with its key's digest, or why it has none.

    Names that begin with a dot are Kubernetes' own (`..data`).
    """
    for name in sorted(os.listdir(directory)):
        if not TENANT_NAME.fullmatch(name):
            continue
        try:
            key = read_key_file(directory / name)
        except OSError:
            yield name, "unreadable"
            continue
        if key is not None:
            yield name, judge_key(key) or _digest(key)


def read_keys(directory: Path) -> Keys:
    """Returns the tenants' keys; one that two tenants have names neither.

    Raises OSError when the folder cannot be read.
    """
    entries = list(read_entries(directory))
    holders = Counter(entry for _, entry in entries if isinstance(entry, bytes))
    digests, refused = [], []
    for tenant, entry in entries:
        if not isinstance(entry, bytes):
            refused.append((tenant, entry))
        elif holders[entry] > 1:
            refused.append((tenant, "shared"))
        else:
            digests.append((tenant, entry))
    return Keys(tuple(digests), tuple(refused))


def bearer_token(authorization: str | None) -> str | None:
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


class KeyRing:
    """The keys now in force; `directory` None lets everyone in as one anonymous tenant.

    NB: the files are read anew each time: no time, size or link of them tells of every change.
    """

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._keys = read_keys(directory) if directory else Keys()
        self._report(Keys(), self._keys)

    @property
    def readable(self) -> bool:
        return self._keys.readable

    def tenant_of(self, authorization: str | None, api_key: str | None = None) -> str | None:
        """Returns the tenant by the Bearer key or by the bare one. NB: of two keys, both must be the tenant's."""
        if self._directory is None:
            return ANONYMOUS
        offered = {token for token in (bearer_token(authorization), (api_key or "").strip()) if token}
        tenants = {self._keys.tenant_of(token) for token in offered}
        return tenants.pop() if len(tenants) == 1 else None

    def count_refused(self) -> dict[str, int]:
        """Returns how many keys were refused for each reason, 0 included."""
        return {reason: sum(reason == why for _, why in self._keys.refused) for reason in MEANINGS}

    def reload(self) -> bool:
        """Reads the keys again. Returns True when other keys are in force than before."""
        if self._directory is None:
            return False
        before, self._keys = self._keys, self._read(self._directory)
        self._report(before, self._keys)
        return self._keys != before

    def _read(self, directory: Path) -> Keys:
        try:
            return read_keys(directory)
        except OSError as error:
            if self._keys.readable:
                log.error("API keys cannot be read, nobody is let in error=%s", error.strerror)
            return UNREADABLE

    def _report(self, before: Keys, now: Keys) -> None:
        if now == before or not now.readable:
            return
        log.info("API keys read tenants=%d refused=%d", len(now.digests), len(now.refused))
        for tenant, reason in now.refused:
            if (tenant, reason) not in before.refused:
                log.warning("API key not accepted tenant=%s reason=%s meaning=%s", tenant, reason, MEANINGS[reason])

    async def watch(self, poll_seconds: float, after_read: Callable[[], None]) -> None:
        """Reads the keys again and again. Whatever ends it lets nobody in by the keys as they were last."""
        while self._directory is not None:
            await asyncio.sleep(poll_seconds)
            try:
                await asyncio.to_thread(self.reload)
            except Exception:
                self._keys = UNREADABLE
                raise
            after_read()
