from pagoda_operator.controller.health import WATCH_SILENT_SECONDS, WORK_LIMIT_SECONDS, Health


def test_renewals_that_the_watch_does_not_show_mean_a_dead_watch() -> None:
    health = Health(lease_seen_at=0, lease_written_at=59)
    assert health.why_dead(now=0) is None
    health.lease_written_at = 61
    assert health.why_dead(now=0) is not None
    health.lease_seen_at = 61
    assert health.why_dead(now=0) is None


def test_a_watch_that_shows_no_renewals_is_silent_unless_it_has_just_begun() -> None:
    health = Health(lease_seen_at=0, lease_written_at=WATCH_SILENT_SECONDS + 1)
    now = 2 * WATCH_SILENT_SECONDS
    assert health.is_watch_silent(began=0, now=now)
    assert not health.is_watch_silent(began=WATCH_SILENT_SECONDS, now=now)
    health.lease_seen_at = 2
    assert not health.is_watch_silent(began=0, now=now), "nobody could renew it either"


def test_a_reconcile_that_hangs_is_death_and_one_that_ends_is_not() -> None:
    health, now = Health(lease_seen_at=0, lease_written_at=0), 0.0
    with health.at_work(("ns", "tiny"), lambda: now):
        assert health.why_dead(now=WORK_LIMIT_SECONDS) is None
        assert "ns/tiny" in str(health.why_dead(now=WORK_LIMIT_SECONDS + 1))
    assert health.why_dead(now=WORK_LIMIT_SECONDS + 1) is None
