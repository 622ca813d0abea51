from pagoda_operator.handlers.health import Health


def test_renewals_that_the_watch_does_not_show_mean_a_dead_watch() -> None:
    health = Health(lease_seen_at=0, lease_written_at=59)
    assert health.why_dead() is None
    health.lease_written_at = 61
    assert health.why_dead() is not None
    health.lease_seen_at = 61
    assert health.why_dead() is None
