"""Who is silent is told by looks at what the fronts count, never by a clock."""

from pagoda_server.http.tally import Signs, Tally, count_bytes
from pagoda_server.process.silence import LOOK_SECONDS, Silence, Silent

LOOKS = 4
NOBODY = Silent((), engine=False)


def look(silence: Silence, tallies: list[Tally], *, beating: set[int], hearing: set[int], times: int = 1) -> Silent:
    for _ in range(times):
        for number in beating:
            tallies[number].beat(heard=number in hearing)
        silent = silence.look(tallies[0].read_signs())
    return silent


def build(fronts: int = 2, *, have_engine: bool = True) -> tuple[Silence, list[Tally]]:
    memory = bytearray(count_bytes(fronts))
    tallies = [Tally(memory, number) for number in range(fronts)]
    for tally in tallies if have_engine else []:
        tally.set_engine()
    silence = Silence(LOOKS * LOOK_SECONDS)
    silence.look(tallies[0].read_signs())
    return silence, tallies


def test_who_beats_and_hears_is_never_silent() -> None:
    silence, tallies = build()
    assert look(silence, tallies, beating={0, 1}, hearing={0, 1}, times=10 * LOOKS) == NOBODY


def test_a_front_that_beats_no_longer_is_silent_after_so_many_looks_and_is_named_once() -> None:
    silence, tallies = build()
    look(silence, tallies, beating={0, 1}, hearing={0, 1})
    assert look(silence, tallies, beating={0}, hearing={0}, times=LOOKS - 1) == NOBODY
    assert look(silence, tallies, beating={0}, hearing={0}) == Silent((1,), engine=False)
    assert look(silence, tallies, beating={0}, hearing={0}) == NOBODY


def test_an_engine_that_no_front_hears_is_silent() -> None:
    silence, tallies = build()
    look(silence, tallies, beating={0, 1}, hearing={0, 1})
    assert look(silence, tallies, beating={0, 1}, hearing=set(), times=LOOKS - 1) == NOBODY
    assert look(silence, tallies, beating={0, 1}, hearing=set()) == Silent((), engine=True)


def test_an_engine_that_one_front_hears_is_not_silent() -> None:
    silence, tallies = build()
    assert look(silence, tallies, beating={0, 1}, hearing={1}, times=10 * LOOKS) == NOBODY


def test_an_engine_that_loads_and_a_front_that_starts_may_take_any_time() -> None:
    silence, tallies = build(have_engine=False)
    assert look(silence, tallies, beating={0}, hearing=set(), times=100 * LOOKS) == NOBODY


def test_fronts_that_are_all_stopped_accuse_no_engine() -> None:
    silence, tallies = build()
    look(silence, tallies, beating={0, 1}, hearing={0, 1})
    assert look(silence, tallies, beating=set(), hearing=set(), times=LOOKS) == Silent((0, 1), engine=False)


def test_a_front_that_is_started_anew_is_exempt_until_it_beats() -> None:
    silence, tallies = build()
    look(silence, tallies, beating={0, 1}, hearing={0, 1})
    tallies[1].forget_beats()
    assert look(silence, tallies, beating={0}, hearing={0}, times=10 * LOOKS) == NOBODY


def test_a_front_that_is_started_anew_beside_a_silent_engine_does_not_excuse_it() -> None:
    silence, tallies = build(1)
    look(silence, tallies, beating={0}, hearing={0})
    look(silence, tallies, beating={0}, hearing=set(), times=LOOKS - 1)
    tallies[0].forget_beats()
    assert look(silence, tallies, beating=set(), hearing=set(), times=3) == NOBODY
    assert look(silence, tallies, beating={0}, hearing=set()).engine


def test_signs_are_those_of_each_front() -> None:
    _, tallies = build()
    tallies[1].beat(heard=True)
    tallies[1].beat(heard=False)
    assert tallies[0].read_signs() == [Signs(0, 0, True), Signs(2, 1, True)]
