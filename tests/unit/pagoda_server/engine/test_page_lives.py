"""How long pages live, as the pages of a cache that is too small show it."""

from pagoda_server.engine.page_lives import PageLives
from pagoda_server.engine.pages import PagePool
from pagoda_server.engine.prefix import PrefixCache
from pagoda_server.engine.request import Request
from pagoda_server.histograms import PAGE_IDLE, PAGE_LIFETIME, PAGE_REUSE_GAP, Observed
from pagoda_server.wire import Sampling
from tests.doubles.clock import Clock

SIZE = 4


class Cache:
    """A pool of two pages, all of them watched."""

    def __init__(self, *, every: int = 1) -> None:
        self.clock = Clock(100.0)
        self.observed = Observed()
        self.pool = PagePool(2, SIZE)
        self.prefix = PrefixCache(self.pool, lives=PageLives(self.observed, self.clock, every=every))

    def run(self, tokens: list[int]) -> int:
        """Computes a prompt that is one page and one token long; returns how many tokens were found."""
        request = Request(request_id="r", token_ids=[*tokens, 0], num_prompt_tokens=5, sampling=Sampling(1), seed=1)
        hit = self.prefix.match(request)
        self.pool.share(hit.page_ids)
        self.prefix.use(hit)
        request.page_ids = hit.page_ids + self.pool.allocate(2 - len(hit.page_ids))
        request.page_digests = list(hit.digests)
        self.prefix.register(request, 5)
        self.pool.release(request.page_ids)
        return len(hit.page_ids) * SIZE

    def seen(self, name: str) -> tuple[int, float]:
        found = self.observed.snapshot()[name]
        return sum(found.counts), found.total


def test_a_page_lives_from_its_coming_to_its_loss_and_idles_from_its_last_use() -> None:
    cache = Cache()
    for at, tokens, found in ((100, 1, 0), (103, 1, 4), (108, 1, 4), (120, 2, 0)):
        cache.clock.now = at
        assert cache.run([tokens] * SIZE) == found
    assert cache.seen(PAGE_REUSE_GAP.name) == (2, 8.0)
    assert cache.seen(PAGE_LIFETIME.name) == (1, 20.0)
    assert cache.seen(PAGE_IDLE.name) == (1, 12.0)


def test_only_some_pages_are_watched() -> None:
    cache = Cache(every=64)
    for tokens in range(1, 9):
        cache.clock.now += 1
        cache.run([tokens] * SIZE)
    lost, _ = cache.seen(PAGE_LIFETIME.name)
    assert 0 < lost < 7, "page 0 is, page 1 is not"
