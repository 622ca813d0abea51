"""Who is asking: Bearer keys from a mounted Secret, one file a tenant.

Keys are kept as digests only, compared in constant time and all of them walked, so that neither the time taken nor a
dump of the memory tells a key. It must never log a key, and never let anyone in because a directory could not be read.
"""

import asyncio
import hashlib
import hmac
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

TENANT_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,252}")
ANONYMOUS = "anonymous"


@dataclass(frozen=True, slots=True)
class Keys:
    digests: tuple[tuple[str, bytes], ...] = ()

    def tenant_of(self, token: str) -> str | None:
        offered = _digest(token.encode("utf-8", "surrogateescape"))
        found = None
        for tenant, digest in self.digests:
            if hmac.compare_digest(digest, offered):
                found = tenant
        return found


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def read_keys(directory: Path) -> Keys:
    """Names that start with a dot are Kubernetes' own (`..data`); an empty file is no key."""
    digests = []
    for path in sorted(directory.iterdir()):
        if not TENANT_NAME.fullmatch(path.name) or not path.is_file():
            continue
        if key := path.read_bytes().strip():
            digests.append((path.name, _digest(key)))
        else:
            log.warning("empty API key file ignored tenant=%s", path.name)
    return Keys(tuple(digests))


def read_signature(directory: Path) -> tuple[object, ...]:
    """Changes whenever a key does: Kubernetes swaps the `..data` link, a person may write a file in place."""
    data = directory / "..data"
    link = os.readlink(data) if data.is_symlink() else ""
    files = [(e.name, e.stat().st_mtime_ns, e.stat().st_size) for e in os.scandir(directory)]
    return (directory.stat().st_mtime_ns, link, tuple(sorted(files)))


def bearer_token(authorization: str | None) -> str | None:
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


class KeyRing:
    """The keys now in force; `directory` None lets everyone in as one anonymous tenant."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._signature = read_signature(directory) if directory else ()
        self._keys = read_keys(directory) if directory else Keys()

    def tenant_of(self, authorization: str | None) -> str | None:
        if self._directory is None:
            return ANONYMOUS
        token = bearer_token(authorization)
        return None if token is None else self._keys.tenant_of(token)

    def reload(self) -> bool:
        """True when the keys were read anew."""
        if self._directory is None:
            return False
        signature = read_signature(self._directory)
        if signature == self._signature:
            return False
        self._keys, self._signature = read_keys(self._directory), signature
        log.info("API keys reloaded tenants=%d", len(self._keys.digests))
        return True

    async def watch(self, poll_seconds: float) -> None:
        while self._directory is not None:
            await asyncio.sleep(poll_seconds)
            try:
                await asyncio.to_thread(self.reload)
            except OSError as error:
                log.error("API keys could not be read, the last ones stay in force error=%s", error.strerror)
