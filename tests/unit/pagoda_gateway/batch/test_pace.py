from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagoda_gateway.batch.pace import IDLE_SHARE, QUIET_SECONDS, WINDOW_SECONDS, Attribution, Figures, Pace, Seen

SLOTS = 64
SETTLED = int(WINDOW_SECONDS)
"""So many figures, one a second, tell nothing of live requests yet."""
IDLE = Seen(SLOTS, live_running=0, live_queued=0, batch_running=0, figures=Figures(0, 0, 0.1))


def grow(pace: Pace, seen: Seen, figures: int, *, now: float = 0.0, **changes: object) -> int:
    """Gives so many figures, each with as many batch requests as there is room for. Returns what runs then."""
    running = seen.batch_running
    for number in range(figures):
        told = Figures(int(now * 1000) + number + 1, 0, 0.1)
        running += pace.look(replace(seen, batch_running=running, figures=told, **changes), now + number).starts  # type: ignore[arg-type]
    return running


def test_alone_a_batch_grows_fast_up_to_its_part() -> None:
    pace = Pace(0.25)
    assert grow(pace, IDLE, 1) == 2
    assert grow(Pace(0.25), IDLE, 10) == SLOTS * IDLE_SHARE


def test_beside_live_requests_it_grows_slowly_up_to_its_share() -> None:
    seen = replace(IDLE, live_running=4)
    assert grow(Pace(0.25), seen, 5 + SETTLED) == 6
    assert grow(Pace(0.25), seen, 40) == SLOTS * 0.25


def test_nothing_begins_while_a_live_request_waits() -> None:
    pace = Pace(0.25)
    grow(pace, IDLE, 5)
    assert pace.look(replace(IDLE, live_queued=1, live_running=SLOTS), 5.0).starts == 0


def test_with_the_first_live_request_it_falls_at_once_to_what_went_well_beside_them() -> None:
    pace = Pace(0.25)
    beside = grow(pace, replace(IDLE, live_running=4), 5 + SETTLED)
    alone = grow(pace, replace(IDLE, batch_running=beside), 10, now=20.0)
    assert (beside, alone) == (6, SLOTS * IDLE_SHARE)
    room = pace.look(replace(IDLE, batch_running=alone, live_running=1, figures=Figures(1, 9, 1.0)), 40.0)
    assert (room.starts, room.most) == (0, beside)


def test_after_live_requests_it_waits_for_a_while_and_grows_from_there() -> None:
    pace = Pace(0.25)
    grow(pace, replace(IDLE, live_running=4), 5 + SETTLED)
    beside = pace.limit
    pace.look(replace(IDLE, batch_running=beside, figures=Figures(100, 0, 0.1)), 9.0 + QUIET_SECONDS / 2)
    assert pace.limit == beside + 1
    pace.look(replace(IDLE, batch_running=beside + 1, figures=Figures(101, 0, 0.1)), 9.0 + QUIET_SECONDS)
    assert pace.limit == 2 * (beside + 1)


def test_between_two_live_requests_nothing_is_taken_back() -> None:
    pace = Pace(0.25)
    running = grow(pace, IDLE, 10)
    assert pace.look(replace(IDLE, batch_running=running), 11.0).most == SLOTS


@given(live=st.integers(0, 100), batch=st.integers(0, 100))
def test_live_requests_never_lack_a_row_that_a_batch_holds(live: int, batch: int) -> None:
    room = Pace(0.25).look(replace(IDLE, live_running=live, batch_running=batch), 0.0)
    assert room.most <= max(SLOTS - live, 0)
    assert room.starts == 0 or batch + room.starts + live <= SLOTS


@pytest.mark.parametrize("figures", [Figures(50, waiting=9, utilization=0.1), Figures(50, 0, utilization=0.95)])
def test_it_shrinks_when_the_engine_has_enough_to_do(figures: Figures) -> None:
    pace = Pace(0.25)
    seen = replace(IDLE, live_running=4)
    running = grow(pace, seen, 40)
    pace.look(replace(seen, batch_running=running, figures=figures), 41.0)
    assert pace.limit < running


def test_alone_it_may_have_all_that_the_engine_can_do() -> None:
    pace = Pace(0.25)
    for number in range(10):
        pace.look(replace(IDLE, batch_running=pace.limit, figures=Figures(number, 0, 1.0)), 10.0 + number)
    assert pace.limit == SLOTS * IDLE_SHARE


@pytest.mark.parametrize("changes", [{"figures": None}, {"leaving": True}])
def test_nothing_begins_without_a_server_or_at_the_end(changes: dict[str, object]) -> None:
    assert Pace(0.25).look(replace(IDLE, **changes), 0.0).starts == 0  # type: ignore[arg-type]


def test_beside_live_requests_few_prompts_come_between_two_figures() -> None:
    pace = Pace(0.25)
    grow(pace, replace(IDLE, live_running=4), 40)
    seen = replace(IDLE, live_running=4, figures=Figures(500, 0, 0.1))
    first = pace.look(seen, 50.0).starts
    pace.note_begun(first)
    assert first == 2 and pace.look(seen, 50.0).starts == 0


def test_the_share_of_batches_is_their_part_of_the_sequences_by_time() -> None:
    attribution = Attribution(window_seconds=5.0)
    attribution.note(live=1, batch=3, now=0.0)
    assert attribution.batch_share(2.0) == pytest.approx(0.75)
    attribution.note(live=4, batch=0, now=2.0)
    assert attribution.batch_share(5.0) == pytest.approx(6 / (8 + 12))
    assert attribution.batch_share(6.0) == pytest.approx(3 / (4 + 16))


def test_a_large_batch_is_forgotten_within_the_servers_window() -> None:
    attribution = Attribution(window_seconds=5.0)
    attribution.note(live=0, batch=192, now=0.0)
    attribution.note(live=2, batch=0, now=10.0)
    assert attribution.batch_share(12.0) > 0.9
    assert attribution.batch_share(15.0) == 0.0


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(0, 9), st.integers(0, 9)), max_size=30))
def test_what_is_remembered_is_the_window_and_no_more(noted: list[tuple[float, int, int]]) -> None:
    whole, attribution, now = Attribution(window_seconds=1e9), Attribution(window_seconds=5.0), 0.0
    for seconds, live, batch in noted:
        now += seconds
        attribution.note(live, batch, now)
        whole.note(live, batch, now)
    assert 0.0 <= attribution.batch_share(now) <= 1.0
    assert len(attribution._spans) <= 2 + sum(since > now - 5.0 for since, _, _ in whole._spans)


def test_an_engine_without_work_has_no_share() -> None:
    assert Attribution().batch_share(1.0) == 0.0
