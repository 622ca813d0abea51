"""The ends of a batch that are not "completed", and what is removed when its time is over."""

from pagoda_gateway.batch import names
from pagoda_gateway.batch.cleaning import LEFT_OVER_SECONDS, Cleaner
from pagoda_gateway.batch.files import FileRecord, Files
from pagoda_gateway.batch.limits import KEPT_SECONDS, WINDOW_SECONDS
from pagoda_gateway.batch.metrics import BatchMetrics
from pagoda_gateway.batch.register import Register
from pagoda_gateway.batch.run import BatchRun
from pagoda_gateway.metrics import Metrics
from tests.doubles.batch_world import TENANT, World
from tests.doubles.clock import Clock
from tests.doubles.memory_store import Mount


async def test_what_is_not_answered_in_time_is_told_line_by_line() -> None:
    world = World(6)
    await world.run(Mount(world.objects, writes_left=3, torn_bytes=300))  # dies while it writes the first answers
    world.clock.now = float(world.order.expires_at)
    await world.run(Mount(world.objects))
    progress = await world.read_progress()
    output, errors = world.read(progress.output_file_id), world.read(progress.error_file_id)
    assert progress.status == "expired" and progress.expired_at is not None
    assert [line["custom_id"] for line in output] == ["r0"]
    assert [line["custom_id"] for line in errors] == ["r1", "r2", "r3", "r4", "r5"]
    assert {line["error"]["code"] for line in errors} == {"batch_expired"}
    assert (progress.total, progress.completed, progress.failed) == (6, 1, 5)


async def test_a_batch_without_its_file_fails_in_words() -> None:
    world = World(2)
    del world.objects[names.file_content(TENANT, world.order.input_file_id)]
    await world.run(Mount(world.objects))
    progress = await world.read_progress()
    assert progress.status == "failed" and [error.code for error in progress.errors] == ["input_file_missing"]


async def test_a_batch_that_has_ended_is_run_no_more() -> None:
    world = World(3)
    await world.run(Mount(world.objects))
    await world.run(Mount(world.objects))
    assert world.server.asked.total() == 3


async def test_an_owner_that_lost_its_batch_writes_no_files() -> None:
    world = World(3)
    first = Mount(world.objects)
    lease = await world.take(first)
    await world.take(Mount(world.objects))
    await BatchRun(world.build_place(first), lease).run()
    assert [entry.name for entry in await first.find("files")] == [
        names.file_content(TENANT, world.order.input_file_id)
    ]
    assert not (await world.read_progress()).has_ended


def build_cleaner(store: Mount, clock: Clock) -> Cleaner:
    metrics = BatchMetrics(Metrics(namespace="n", model_deployment="d", model_name="m"))
    return Cleaner(store, Files(store, now=clock), Register(store, now=clock), metrics, now=clock)


async def add_file(store: Mount, clock: Clock, *, expires_at: int | None) -> str:
    file_id = names.build_id("file", clock())
    await store.put(names.file_content(TENANT, file_id), b"x")
    record = FileRecord(
        id=file_id, bytes=1, created_at=int(clock()), expires_at=expires_at, filename="f", purpose="batch"
    )
    await Files(store, now=clock).add(TENANT, record)
    return file_id


async def test_files_go_when_their_time_is_over_and_no_batch_needs_them() -> None:
    store, clock = Mount(), Clock()
    kept, over = await add_file(store, clock, expires_at=None), await add_file(store, clock, expires_at=10)
    clock.now = 10.0
    assert await Files(store, now=clock).find(TENANT, over) is None
    await build_cleaner(store, clock).clean()
    assert {name.split("/")[-1].split(".")[0] for name in store.objects} == {kept}


async def test_a_file_that_a_batch_needs_stays() -> None:
    world = World(1)
    store, clock = Mount(world.objects), world.clock
    await Register(store, now=clock).add(world.order)
    record = FileRecord(
        id=world.order.input_file_id, bytes=1, created_at=0, expires_at=5, filename="f", purpose="batch"
    )
    await Files(store, now=clock).add(TENANT, record)
    clock.now = 10.0
    await build_cleaner(store, clock).clean()
    assert await store.get(names.file_content(TENANT, record.id)) is not None


async def test_what_an_interrupted_upload_left_goes_after_a_day() -> None:
    store, clock = Mount(), Clock()
    name = names.file_content(TENANT, names.build_id("file", 0.0))
    await store.put(name, b"half")
    clock.now = LEFT_OVER_SECONDS - 1
    await build_cleaner(store, clock).clean()
    assert name in store.objects
    clock.now = LEFT_OVER_SECONDS + 1
    await build_cleaner(store, clock).clean()
    assert store.objects == {}


async def test_batches_go_a_month_after_their_window() -> None:
    world = World(1)
    await world.run(Mount(world.objects))
    world.clock.now = float(KEPT_SECONDS + WINDOW_SECONDS + 1)
    store = Mount(world.objects)
    await build_cleaner(store, world.clock).clean()
    assert await store.find("batches") == []
