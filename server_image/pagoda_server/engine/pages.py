"""Who owns which KV page. Plain counting: `free + cached + owned == total` after every call.

A page is *owned* while some request refers to it, *cached* when none does but the prefix cache still knows its
tokens, else *free*.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable


class OutOfPages(Exception):
    """`allocate` was called without `can_allocate`."""


class PagePool:
    """Pages 0 to `total_pages - 1` of `page_size` tokens each."""

    def __init__(self, total_pages: int, page_size: int = 64) -> None:
        if total_pages < 1 or page_size < 1:
            raise ValueError(f"total_pages is {total_pages} and page_size is {page_size}; give at least 1 of each")
        self.total_pages = total_pages
        self.page_size = page_size
        self.on_evict: Callable[[int], None] = lambda page_id: None
        """Called when a cached page is taken for new tokens."""
        self._free: deque[int] = deque(range(total_pages))
        self._cached: OrderedDict[int, None] = OrderedDict()
        self._references = [0] * total_pages
        self._retained: set[int] = set()

    @property
    def num_free(self) -> int:
        return len(self._free)

    @property
    def num_cached(self) -> int:
        return len(self._cached)

    @property
    def num_owned(self) -> int:
        return sum(1 for count in self._references if count)

    def references(self, page_id: int) -> int:
        return self._references[page_id]

    def pages_for(self, num_tokens: int) -> int:
        return -(-num_tokens // self.page_size)

    def can_allocate(self, num_pages: int) -> bool:
        return num_pages <= len(self._free) + len(self._cached)

    def allocate(self, num_pages: int) -> list[int]:
        """Returns free pages first, then the cached pages that were unused for longest. Raises `OutOfPages`."""
        if not self.can_allocate(num_pages):
            raise OutOfPages(f"{num_pages} pages wanted, {self.num_free} free and {self.num_cached} cached")
        return [self._take() for _ in range(num_pages)]

    def share(self, page_ids: Iterable[int]) -> None:
        """Adds an owner to pages that are owned or cached."""
        for page_id in page_ids:
            if self._references[page_id] == 0:
                del self._cached[page_id]
            self._references[page_id] += 1

    def release(self, page_ids: Iterable[int]) -> None:
        """Takes an owner from each page, the last page first, so that a chain is evicted from its end."""
        for page_id in reversed(list(page_ids)):
            if self._references[page_id] < 1:
                raise ValueError(f"page {page_id} is released but nobody owns it")
            self._references[page_id] -= 1
            if self._references[page_id] == 0:
                self._park(page_id)

    def retain(self, page_id: int) -> None:
        """Keeps the page's content after its last owner leaves."""
        self._retained.add(page_id)

    def forget(self, page_id: int) -> None:
        """Frees the page now, or when its last owner leaves: its content is not worth keeping."""
        self._retained.discard(page_id)
        if page_id in self._cached:
            del self._cached[page_id]
            self._free.append(page_id)

    def check_integrity(self) -> None:
        """Raises AssertionError when a page is lost or counted twice."""
        free, cached = set(self._free), set(self._cached)
        owned = {page_id for page_id, count in enumerate(self._references) if count}
        assert len(free) == len(self._free), "a page is free twice"
        assert not (free & cached or free & owned or cached & owned), "a page is in two places"
        assert len(free) + len(cached) + len(owned) == self.total_pages, "a page is lost"
        assert all(count >= 0 for count in self._references), "a page has fewer than no owners"
        assert cached <= self._retained and not (free & self._retained), "cached pages and the prefix cache disagree"

    def _take(self) -> int:
        if self._free:
            page_id = self._free.popleft()
        else:
            page_id, _ = self._cached.popitem(last=False)
            self._retained.discard(page_id)
            self.on_evict(page_id)
        self._references[page_id] = 1
        return page_id

    def _park(self, page_id: int) -> None:
        if page_id in self._retained:
            self._cached[page_id] = None
        else:
            self._free.append(page_id)
