import pytest

from pagoda_server.engine import prefix as prefix_module
from pagoda_server.engine.pages import OutOfPages, PagePool
from pagoda_server.engine.prefix import PrefixCache
from pagoda_server.engine.request import Request
from pagoda_server.wire import Sampling


def build_computed(pool: PagePool, token_ids: list[int]) -> Request:
    request = Request(
        request_id="r", token_ids=token_ids, num_prompt_tokens=len(token_ids), sampling=Sampling(max_tokens=1), seed=0
    )
    request.num_computed_tokens = len(token_ids)
    request.page_ids = pool.allocate(pool.pages_for(len(token_ids)))
    return request


def test_equal_digests_of_different_tokens_are_no_hit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefix_module, "build_page_digest", lambda parent, token_ids: b"collision")
    pool = PagePool(8, 4)
    cache = PrefixCache(pool)
    request = build_computed(pool, [1, 2, 3, 4])
    cache.register(request, request.num_tokens)
    assert cache.match(build_computed(pool, [5, 6, 7, 8, 9])).page_ids == []
    assert cache.match(build_computed(pool, [1, 2, 3, 4, 9])).page_ids == [0]


def test_hit_never_covers_the_whole_prompt() -> None:
    pool = PagePool(8, 4)
    cache = PrefixCache(pool)
    request = build_computed(pool, list(range(8)))
    cache.register(request, request.num_tokens)
    assert cache.match(request).page_ids == request.page_ids[:1]


def test_page_unused_for_longest_is_evicted_first_and_forgotten() -> None:
    pool = PagePool(2, 4)
    cache = PrefixCache(pool)
    old, new = build_computed(pool, [1, 2, 3, 4]), build_computed(pool, [5, 6, 7, 8])
    for request in (old, new):
        cache.register(request, request.num_tokens)
        pool.release(request.page_ids)
    assert (pool.num_free, pool.num_cached) == (0, 2)
    assert pool.allocate(1) == old.page_ids
    pool.check_integrity()
    old.token_ids.append(0)
    new.token_ids.append(0)
    assert cache.match(old).page_ids == []
    assert cache.match(new).page_ids == new.page_ids


def test_shared_page_is_free_only_after_its_last_owner() -> None:
    pool = PagePool(1, 4)
    pages = pool.allocate(1)
    pool.share(pages)
    pool.release(pages)
    assert not pool.can_allocate(1)
    with pytest.raises(OutOfPages):
        pool.allocate(1)
    pool.release(pages)
    assert pool.num_free == 1
    with pytest.raises(ValueError, match="nobody owns it"):
        pool.release(pages)
