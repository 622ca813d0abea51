"""Which computed pages hold which tokens, so that equal prompts are computed once.

Full pages only, chained by digest from the tenant and its salt on. A hit compares the page's token ids and its parent,
never the digest alone, and never covers a whole prompt: at least one token is computed, for its logits.
"""

import hashlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from pagoda_server.engine.page_lives import PageLives
from pagoda_server.engine.pages import PagePool
from pagoda_server.engine.request import Request


@dataclass(frozen=True, slots=True)
class CachedPage:
    page_id: int
    parent: bytes
    token_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PrefixHit:
    page_ids: list[int]
    digests: list[bytes]
    recomputed_tokens: int = 0
    """Tokens that the cache knows too, computed again for the logits of the last one."""


def build_root_digest(request: Request) -> bytes:
    """Returns where the chain of a request begins. NB: each name has its own hash, so no two pairs spell the same."""
    names = (hashlib.blake2b(name.encode()).digest() for name in (request.tenant, request.prefix_salt))
    return hashlib.blake2b(b"".join(names), digest_size=16, person=b"pagoda-salt").digest()


def build_page_digest(parent: bytes, token_ids: Sequence[int]) -> bytes:
    return hashlib.blake2b(parent + array("q", token_ids).tobytes(), digest_size=16).digest()


class PrefixCache:
    def __init__(self, pool: PagePool, *, enabled: bool = True, lives: PageLives | None = None) -> None:
        self._pool = pool
        self._enabled = enabled
        self._lives = lives
        self._pages: dict[bytes, CachedPage] = {}
        self._digests: dict[int, bytes] = {}
        pool.on_evict = self._evict

    def match(self, request: Request) -> PrefixHit:
        """Finds the longest run of known pages from the start of `request.token_ids`, short of its last token.

        None for a request that wants the log-probabilities of its prompt: pages do not hold them.
        """
        page_ids: list[int] = []
        digests: list[bytes] = []
        if not self._enabled or request.wants_scores:
            return PrefixHit(page_ids, digests)
        size, parent = self._pool.page_size, build_root_digest(request)
        for index in range(request.num_tokens // size):
            token_ids = tuple(request.token_ids[index * size : (index + 1) * size])
            digest = build_page_digest(parent, token_ids)
            page = self._pages.get(digest)
            if page is None or page.parent != parent or page.token_ids != token_ids:
                break
            if (index + 1) * size == request.num_tokens:
                return PrefixHit(page_ids, digests, recomputed_tokens=size)
            page_ids.append(page.page_id)
            digests.append(digest)
            parent = digest
        return PrefixHit(page_ids, digests)

    def use(self, hit: PrefixHit) -> None:
        """Notes that a request goes on from the hit."""
        if self._lives is not None:
            self._lives.use(hit.page_ids)

    def register(self, request: Request, num_tokens: int) -> None:
        """Remembers the pages that the request's first `num_tokens` fill, all of them computed and known.

        Of pages with equal content the first stays.
        """
        if not self._enabled:
            return
        size = self._pool.page_size
        for index in range(len(request.page_digests), num_tokens // size):
            parent = request.page_digests[-1] if request.page_digests else build_root_digest(request)
            token_ids = tuple(request.token_ids[index * size : (index + 1) * size])
            digest = build_page_digest(parent, token_ids)
            request.page_digests.append(digest)
            if digest not in self._pages:
                page_id = request.page_ids[index]
                self._pages[digest] = CachedPage(page_id, parent, token_ids)
                self._digests[page_id] = digest
                self._pool.retain(page_id)
                if self._lives is not None:
                    self._lives.come(page_id)

    def forget(self, request: Request) -> None:
        """Forgets the pages of this running request and all that were computed from them, for good."""
        lost = {self._digests[page_id] for page_id in request.page_ids if page_id in self._digests}
        while more := {digest for digest, page in self._pages.items() if page.parent in lost} - lost:
            lost |= more
        for digest in lost:
            page_id = self._pages[digest].page_id
            self._forget(page_id)
            self._pool.forget(page_id)

    def _evict(self, page_id: int) -> None:
        self._forget(page_id)
        if self._lives is not None:
            self._lives.go(page_id)

    def _forget(self, page_id: int) -> None:
        del self._pages[self._digests.pop(page_id)]
