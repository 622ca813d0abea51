import asyncio

import pytest

from pagoda_guard.tasks import TaskEnded, Tasks


async def test_a_kept_loop_is_started_again_and_each_failure_is_counted() -> None:
    counted: list[str] = []
    runs = 0

    async def fail_twice() -> None:
        nonlocal runs
        runs += 1
        if runs < 3:
            raise RuntimeError("no")

    tasks = Tasks(count=counted.append, first_pause_seconds=0.0)
    await tasks.keep("loop", fail_twice)
    assert (runs, counted) == (3, ["loop", "loop"])


@pytest.mark.parametrize("expected", [(), (OSError,)])
async def test_what_is_expected_from_outside_is_logged_without_a_traceback(
    expected: tuple[type[Exception], ...], caplog: pytest.LogCaptureFixture
) -> None:
    errors = [ConnectionResetError("by peer")]

    async def fail_once() -> None:
        if errors:
            raise errors.pop()

    await Tasks(first_pause_seconds=0.0).keep("loop", fail_once, expected=expected)
    assert "task failed and is started again name=loop" in caplog.text
    assert ("Traceback" in caplog.text) is not bool(expected)


async def test_the_end_of_a_watched_part_is_raised_with_its_name_and_cause() -> None:
    async def fail() -> None:
        raise RuntimeError("broken")

    tasks = Tasks()
    tasks.watch("lease", fail())
    with pytest.raises(TaskEnded, match=r"lease ended: RuntimeError\('broken'\)") as raised:
        await tasks.wait_failed()
    assert isinstance(raised.value.__cause__, RuntimeError)


async def test_a_watched_part_that_merely_returns_has_ended_too() -> None:
    tasks = Tasks()
    tasks.watch("lease", asyncio.sleep(0))
    with pytest.raises(TaskEnded, match="lease ended"):
        await tasks.wait_failed()


async def test_a_spawned_failure_is_counted_and_nothing_else_ends() -> None:
    counted: list[str] = []

    async def fail() -> None:
        raise RuntimeError("no")

    tasks = Tasks(count=counted.append)
    await asyncio.wait([tasks.spawn("short", fail())])
    await asyncio.sleep(0)
    assert counted == ["short"]


async def test_stop_ends_all_without_calling_it_a_failure() -> None:
    counted: list[str] = []
    tasks = Tasks(count=counted.append)
    forever = asyncio.Event()
    kept, watched = tasks.keep("kept", lambda: _wait(forever)), tasks.watch("watched", forever.wait())
    await asyncio.sleep(0)
    await tasks.stop()
    assert kept.cancelled() and watched.cancelled() and not counted


async def _wait(event: asyncio.Event) -> None:
    await event.wait()
