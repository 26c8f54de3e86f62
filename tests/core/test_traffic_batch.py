"""Batch requests have a hit share of their own (methods.md §2)."""

from decimal import Decimal
from types import SimpleNamespace
from typing import Any

from routing.core.levers import NO_CACHE, CacheUse
from routing.core.traffic import ClassTraffic, class_traffic


def traffic(**tokens: int) -> ClassTraffic:
    names = ("uncached_input_tok", "cache_read_tok", "cache_write_5m_tok", "cache_write_1h_tok", "output_tok",
             "batch_cache_read_tok", "batch_cache_write_5m_tok", "batch_cache_write_1h_tok")  # fmt: skip
    served: Any = SimpleNamespace(model="opus", requests=2_000, **(dict.fromkeys(names, 0) | tokens))
    return class_traffic(
        [served], generations={}, incumbent="opus", keeps_own_caching=False, reuse={}, batch_share=Decimal("0.5")
    )


def test_hits_online_and_in_batch_are_kept_apart() -> None:
    """1,000 prefix tokens online, 900 of them read; 500 in batch, 50 of them read."""
    found = traffic(
        uncached_input_tok=4_000, cache_read_tok=950, cache_write_5m_tok=550, output_tok=100,
        batch_cache_read_tok=50, batch_cache_write_5m_tok=450,
    )  # fmt: skip
    assert found.reuse is not None and found.reuse.hit_share_5m == Decimal("0.9")
    assert found.batch_cache == CacheUse("own", Decimal("0.1"), Decimal(0))
    assert found.reference.prefix_tok == Decimal("0.75")  # of both


def test_a_class_that_caches_online_only_has_no_measured_share_in_batch() -> None:
    found = traffic(uncached_input_tok=4_000, cache_read_tok=900, cache_write_1h_tok=100)
    assert found.reuse is not None and found.reuse.hit_share_1h == Decimal("0.9")
    assert found.batch_cache == NO_CACHE


def test_a_class_served_in_batch_alone_is_known_by_what_batch_finds() -> None:
    found = traffic(
        uncached_input_tok=4_000, cache_read_tok=300, cache_write_5m_tok=700, batch_cache_read_tok=300,
        batch_cache_write_5m_tok=700,
    )  # fmt: skip
    assert found.reuse is not None and found.reuse.hit_share_5m == Decimal("0.3")
    assert found.batch_cache.hit_share == Decimal("0.3")
