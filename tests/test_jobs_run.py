"""Running a job: everything ends in one column, what is interrupted goes on, and the rules are kept."""

from __future__ import annotations

import errno
import hashlib
import shutil
import socket
import sys
from contextlib import closing
from datetime import datetime, time
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from asyncrad69 import (
    AsyncRad69,
    AuthenticationError,
    ConnectionFailed,
    Event,
    InstanceReference,
    InstanceVerified,
    InvalidReferenceError,
    RequestStarted,
    Retry,
    ServerBusy,
    StorageError,
    Timeout,
    TransferTimeout,
)
from asyncrad69.jobs import Job, JobError, Rules, Shard, Window, _run
from asyncrad69.jobs._store import Store
from asyncrad69.jobs._turn import turn
from asyncrad69.testing import SimulatedSource
from certificates import authority, trusting
from source import Scripted, ScriptedSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

UNKNOWN = InstanceReference("1.2.3", "1.2.3.4", "1.2.3.4.5", repository_unique_id="1.2.3.4")

# Local time, as windows are.
NOON = datetime(2026, 1, 5, 12)  # noqa: DTZ001
EVENING = datetime(2026, 1, 5, 19)  # noqa: DTZ001

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def source() -> Iterator[SimulatedSource]:
    with SimulatedSource.demo(slices=2) as running:
        yield running


@pytest.fixture
def job(source: SimulatedSource, tmp_path: Path) -> Iterator[Job]:
    """Everything the source has."""
    with Job.plan(tmp_path / "job.db", references=source.references()) as job:
        yield job


def written(folder: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in folder.rglob("*.dcm")}


def expected(source: SimulatedSource) -> dict[str, bytes]:
    return {each.sop_instance_uid: source.data(each.sop_instance_uid) for each in source.references()}


async def status(job: Job) -> Any:
    return await anyio.to_thread.run_sync(job.status)


async def rows(job: Job, *states: Any) -> Any:
    return await anyio.to_thread.run_sync(lambda: list(job.rows(states)) if states else list(job.rows()))


@pytest.mark.parametrize("batch", [1, 7, 10_000])
@pytest.mark.parametrize("durability", ["none", "batch"])
async def test_everything_is_written_and_entered(
    batch: int, durability: Any, source: SimulatedSource, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the size of a batch: every byte as sent, and path, size and SHA-256 of each file in the job."""
    monkeypatch.setattr(_run, "BATCH", batch)
    async with AsyncRad69(source.url) as rad69:
        result = await job.run(rad69, tmp_path / "images", durability=durability)
    assert result.complete
    assert result == await status(job)
    assert written(tmp_path / "images") == expected(source)
    assert result.done_bytes == source.total_bytes
    for row in await rows(job):
        data = row.path.read_bytes()
        assert (row.size_bytes, row.sha256, row.attempts) == (len(data), hashlib.sha256(data).hexdigest(), 1)
        assert row.path.stem == row.reference.sop_instance_uid


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_a_second_run_asks_for_what_is_missing_only(source: SimulatedSource, tmp_path: Path) -> None:
    """What is done is not asked for again, what was refused only where the rules say so."""
    asked = (*source.references(), UNKNOWN)
    with await anyio.to_thread.run_sync(partial(Job.plan, tmp_path / "job.db", references=asked)) as job:
        async with AsyncRad69(source.url) as rad69:
            first = await job.run(rad69, tmp_path / "images")
            before = len(source.requests)
            second = await job.run(rad69, tmp_path / "images")
            assert len(source.requests) == before
            third = await job.run(rad69, tmp_path / "images", rules=Rules(ask_refused=True))
        assert [uid for each in source.requests[before:] for uid in each.sop_instance_uids] == ["1.2.3.4.5"]
        assert first == second == third
        assert (first.done, first.refused, first.pending, first.missing) == (len(asked) - 1, 1, 0, 0)
        assert first.reasons == (("XDSMissingDocumentError", "XDSMissingDocument", 1),)
        [row] = await rows(job, "refused")
        assert (row.reference, row.error, row.code) == (UNKNOWN, "XDSMissingDocumentError", "XDSMissingDocument")
        assert row.message
        assert row.attempts == 2


async def test_files_that_a_kill_left_without_an_entry(source: SimulatedSource, job: Job, tmp_path: Path) -> None:
    """What is in the folder and pending in the job is looked at, entered, and not asked for."""
    async with AsyncRad69(source.url) as rad69:
        await rad69.download(source.references()[:5], tmp_path / "images")
        before = len(source.requests)
        result = await job.run(rad69, tmp_path / "images")
    asked = {uid for each in source.requests[before:] for uid in each.sop_instance_uids}
    assert result.complete
    assert asked.isdisjoint(each.sop_instance_uid for each in source.references()[:5])
    assert all(row.sha256 for row in await rows(job))


async def test_stop_finishes_what_is_in_flight(source: SimulatedSource, job: Job, tmp_path: Path) -> None:
    """After stop() no request goes out, what was under way is written, nothing is lost, and the next run completes."""
    begun: list[int] = []

    def watch(event: Event) -> None:
        if isinstance(event, RequestStarted):
            begun.append(len(event.references))
        if isinstance(event, InstanceVerified):
            job.stop()

    async with AsyncRad69(source.url, concurrency=2) as rad69:
        result = await job.run(rad69, tmp_path / "images", on_event=watch)
        assert result.done == sum(begun) < result.instances
        assert result.pending == result.instances - result.done
        assert len(begun) <= 2
        assert (await job.run(rad69, tmp_path / "images")).complete
    assert written(tmp_path / "images") == expected(source)


async def test_a_cancelled_run_loses_nothing_that_is_written(source: SimulatedSource, job: Job, tmp_path: Path) -> None:
    """Cancelled in the middle: what has a file is entered, and the next run completes."""
    async with AsyncRad69(source.url) as rad69:
        with anyio.CancelScope() as scope:
            await job.run(
                rad69,
                tmp_path / "images",
                on_event=lambda event: scope.cancel() if isinstance(event, InstanceVerified) else None,
            )
        assert scope.cancelled_caught
        done = {row.reference.sop_instance_uid for row in await rows(job, "done")}
        assert set(written(tmp_path / "images")) == done
        assert (await job.run(rad69, tmp_path / "images")).complete


async def test_shards_share_a_job(source: SimulatedSource, job: Job, tmp_path: Path) -> None:
    """Each run takes its own studies; together they are all."""
    async with AsyncRad69(source.url) as rad69:
        first = await job.run(rad69, tmp_path / "images", shard=Shard(0, 2))
        assert first.complete
        assert (await status(job)).done == first.instances < len(source.references())
        second = await job.run(rad69, tmp_path / "images", shard=Shard(1, 2))
    assert first.instances + second.instances == len(source.references())
    assert (await status(job)).complete


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX's file locks")
@pytest.mark.parametrize(
    ("mine", "other", "together"),
    [
        (None, None, False),
        (None, Shard(0, 2), False),
        (Shard(0, 2), None, False),
        (Shard(0, 2), Shard(0, 2), False),
        (Shard(0, 2), Shard(1, 2), True),
    ],
    ids=str,
)
async def test_one_run_at_a_time(
    mine: Shard | None, other: Shard | None, together: bool, source: SimulatedSource, job: Job, tmp_path: Path
) -> None:
    """A job, or a shard of it, that is running is not run once more; other shards are."""
    with turn(tmp_path / "job.db", other):
        async with AsyncRad69(source.url) as rad69:
            if together:
                assert (await job.run(rad69, tmp_path / "images", shard=mine)).complete
                return
            with pytest.raises(JobError, match="is running already"):
                await job.run(rad69, tmp_path / "images", shard=mine)
    assert not (tmp_path / "images").exists()


async def test_a_source_that_was_never_there(job: Job, tmp_path: Path) -> None:
    """The run ends at once, and blames no instance."""
    async with AsyncRad69("http://127.0.0.1:9/rad69", retry=Retry(attempts=1)) as rad69:
        with pytest.raises(ConnectionFailed):
            await job.run(rad69, tmp_path / "images")
    result = await status(job)
    assert result.pending == result.instances


def leave(monkeypatch: pytest.MonkeyPatch, go: Callable[[], None], come_back: Callable[[], None]) -> None:
    """Go when the third batch is asked for, and be back for the fourth."""
    monkeypatch.setattr(_run, "_LOOK_AGAIN_S", 0.01)
    monkeypatch.setattr(_run, "BATCH", 5)
    next_pending, calls = Store.next_pending, count(1)

    def counted(*args: Any) -> Any:
        call = next(calls)
        if call == 3:
            go()
        if call == 4:
            come_back()
        return next_pending(*args)

    monkeypatch.setattr(Store, "next_pending", counted)


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2].split("/")[0])


@pytest.fixture
def leaving(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedSource]:
    """A source that is down for the third batch."""
    with SimulatedSource.demo(slices=1) as source:
        port = port_of(source.url)
    source = SimulatedSource.demo(slices=1, port=port)
    leave(monkeypatch, source.stop, source.start)
    with source:
        yield source


@pytest.mark.parametrize("patient", [True, False])
async def test_a_source_that_goes_away(patient: bool, leaving: SimulatedSource, tmp_path: Path) -> None:
    """The run says so, waits and goes on; without patience its error ends the run. No instance is blamed."""
    said: list[str] = []
    retry = Retry(attempts=2, wait_initial_s=0)
    plan = partial(Job.plan, tmp_path / "job.db", references=leaving.references())
    with await anyio.to_thread.run_sync(plan) as job:
        async with AsyncRad69(leaving.url, retry=retry, concurrency=1) as rad69:
            run = partial(job.run, rad69, tmp_path / "images", on_wait=said.append)
            if patient:
                assert (await run()).complete
                assert said == ["the source is busy or out of reach"]
                return
            with pytest.raises(ConnectionFailed):
                await run(rules=Rules(max_away_s=0))
        result = await status(job)
    assert result.done == 10
    assert result.pending == result.instances - 10


@pytest.mark.parametrize("patient", [True, False])
async def test_a_source_that_falls_silent(patient: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody refuses a connection, and none is made in time: that is away, too, and no instance is blamed."""
    certificate = authority().issue_cert("localhost")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "source.pem")
    source = SimulatedSource.demo(slices=1, certfile=tmp_path / "source.pem")
    silent = socket.socket()
    silent.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

    def fall_silent() -> None:
        source.stop()
        silent.bind(("127.0.0.1", port_of(source.url)))
        silent.listen()

    def come_back() -> None:
        port = port_of(source.url)
        silent.close()
        source._address = ("127.0.0.1", port)
        source.start()

    leave(monkeypatch, fall_silent, come_back)
    said: list[str] = []
    plan = partial(Job.plan, tmp_path / "job.db", references=source.references())
    with source, closing(silent), await anyio.to_thread.run_sync(plan) as job:
        async with AsyncRad69(
            f"https://localhost:{port_of(source.url)}/rad69",
            ssl_context=trusting(),
            timeout=Timeout(connect_s=0.2),
            retry=Retry(attempts=2, wait_initial_s=0),
            concurrency=1,
        ) as rad69:
            run = partial(job.run, rad69, tmp_path / "images", on_wait=said.append)
            if patient:
                assert (await run()).complete
                assert said == ["the source is busy or out of reach"]
                return
            with pytest.raises(TransferTimeout):
                await run(rules=Rules(max_away_s=0))
        result = await status(job)
    assert (result.done, result.missing, result.refused) == (10, 0, 0)


class BusyFor:
    """An application of a source that is always busy when it is asked for one instance."""

    def __init__(self, app: Any, uid: str) -> None:
        self._app = app
        self._uid = uid.encode()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._app, name)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        while message["type"] == "http.request" and message.get("more_body"):
            more = await receive()
            message = {**more, "body": message["body"] + more["body"]}
        if self._uid in message["body"]:
            await send({"type": "http.response.start", "status": 503, "headers": [(b"retry-after", b"0")]})
            await send({"type": "http.response.body"})
            return
        messages = iter((message,))

        async def replay() -> Any:
            return next(messages, None) or await receive()

        await self._app(scope, replay, send)


@pytest.mark.parametrize("batch", [10_000, 5])
async def test_a_series_that_is_always_busy(batch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not keep the others from being had; in the end its error ends the run, and it is still pending."""
    monkeypatch.setattr(_run, "BATCH", batch)
    source = SimulatedSource.demo(slices=1)
    references = source.references()
    poison = references[0]
    source._app = BusyFor(source._app, poison.sop_instance_uid)  # type: ignore[assignment]
    plan = partial(Job.plan, tmp_path / "job.db", references=references)
    with source, await anyio.to_thread.run_sync(plan) as job:
        async with AsyncRad69(source.url, retry=Retry(attempts=1)) as rad69:
            with pytest.raises(ServerBusy):
                await job.run(rad69, tmp_path / "images", rules=Rules(max_away_s=0))
        left = await rows(job, "pending")
        result = await status(job)
    assert {row.reference.series_instance_uid for row in left} == {poison.series_instance_uid}
    assert {row.error for row in left} == {"ServerBusy"}
    assert result.done == result.instances - len(left)


@pytest.fixture
def two_places(source: SimulatedSource) -> list[InstanceReference]:
    """What is in the source, and behind it what is in a repository of its own; each is a batch or more of 20."""
    far = [
        InstanceReference(f"1.8.{n}", f"1.8.{n}.1", f"1.8.{n}.1.1", repository_unique_id="1.2.3.5") for n in range(45)
    ]
    return [*far[:25], *source.references(), *far[25:]]


@pytest.mark.parametrize("batch", [20, 10_000])
async def test_an_endpoint_that_refuses_us_does_not_end_the_others(
    batch: int, source: SimulatedSource, two_places: list[InstanceReference], tmp_path: Path, monkeypatch: Any
) -> None:
    """What the others have is had first, the endpoint is asked only once, and then its error ends the run."""
    monkeypatch.setattr(_run, "BATCH", batch)
    plan = partial(Job.plan, tmp_path / "job.db", references=two_places)
    with ScriptedSource(lambda _: Scripted(status="401 Unauthorized")) as far:
        with await anyio.to_thread.run_sync(plan) as job:
            async with AsyncRad69(source.url, endpoints={"1.2.3.5": far.url}, concurrency=1) as rad69:
                with pytest.raises(AuthenticationError):
                    await job.run(rad69, tmp_path / "images")
            result = await status(job)
            left = await rows(job, "pending")
        assert len(far.requests) == 1
    assert (result.done, result.pending) == (len(source.references()), 45)
    assert {row.reference.repository_unique_id for row in left} == {"1.2.3.5"}


async def test_a_run_whose_only_endpoint_refuses_us_ends_at_once(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many batches there are, one request is enough to know."""
    monkeypatch.setattr(_run, "BATCH", 5)
    with ScriptedSource(lambda _: Scripted(status="401 Unauthorized")) as far:
        async with AsyncRad69(far.url, endpoints={"1.2.3.5": "http://127.0.0.1:9/"}, concurrency=1) as rad69:
            with pytest.raises(AuthenticationError):
                await job.run(rad69, tmp_path / "images")
        assert len(far.requests) == 1


async def test_an_error_of_the_caller_s_own_is_raised_as_it_is(
    source: SimulatedSource, two_places: list[InstanceReference], tmp_path: Path
) -> None:
    """What a receiver of events raises is not taken for an endpoint's refusal, whatever it is."""
    own = AuthenticationError("mine")

    def fail(_: Event) -> None:
        raise own

    plan = partial(Job.plan, tmp_path / "job.db", references=two_places)
    with await anyio.to_thread.run_sync(plan) as job:
        async with AsyncRad69(source.url, endpoints={"1.2.3.5": source.url + "?2"}) as rad69:
            with pytest.raises(AuthenticationError) as caught:
                await job.run(rad69, tmp_path / "images", on_event=fail)
    assert caught.value is own


async def test_an_instance_without_a_repository(source: SimulatedSource, tmp_path: Path) -> None:
    """The caller's own mistake, said before anything is sent; the fix is to pass it to the run."""
    first = source.references()[0]
    named = InstanceReference(first.study_instance_uid, first.series_instance_uid, first.sop_instance_uid)
    with await anyio.to_thread.run_sync(partial(Job.plan, tmp_path / "job.db", references=named)) as job:
        async with AsyncRad69(source.url) as rad69:
            with pytest.raises(InvalidReferenceError, match="repository_unique_id="):
                await job.run(rad69, tmp_path / "images")
            result = await job.run(rad69, tmp_path / "images", repository_unique_id=first.repository_unique_id)
    assert result.complete


# --- rules


async def test_too_many_failures_end_the_run(source: SimulatedSource, tmp_path: Path) -> None:
    """After so many the run asks for nothing more; the rest stays pending."""
    unknown = [
        InstanceReference("1.2.3", f"1.2.3.{n}", f"1.2.3.{n}.1", repository_unique_id="1.2.3.4") for n in range(9)
    ]
    asked = (*unknown, *source.references())
    with await anyio.to_thread.run_sync(partial(Job.plan, tmp_path / "job.db", references=asked)) as job:
        async with AsyncRad69(source.url, concurrency=1) as rad69:
            result = await job.run(rad69, tmp_path / "images", rules=Rules(stop_after_failures=4))
    assert (result.refused, result.done, result.pending) == (4, 0, len(asked) - 4)


async def test_outside_the_window_nothing_is_asked(
    source: SimulatedSource, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run says why it waits, asks for nothing, and goes on when the window opens."""
    monkeypatch.setattr(_run, "_LOOK_AGAIN_S", 0.01)
    clock = [NOON]
    asked_at: list[datetime] = []
    said: list[str] = []

    def watch(event: Event) -> None:
        if isinstance(event, RequestStarted):
            asked_at.append(clock[0])

    def wait(why: str) -> None:
        said.append(why)
        clock[0] = EVENING

    monkeypatch.setattr(_run, "_now", lambda: clock[0])
    async with AsyncRad69(source.url) as rad69:
        rules = Rules(window=Window.parse("19:00-07:00"))
        result = await job.run(rad69, tmp_path / "images", rules=rules, on_event=watch, on_wait=wait)
    assert result.complete
    assert said == ["outside the window 19:00-07:00"]
    assert set(asked_at) == {EVENING}


async def test_a_disk_without_room_is_waited_for(
    source: SimulatedSource, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below the minimum nothing is asked; stop() ends such a wait."""
    monkeypatch.setattr(_run, "_free_bytes", lambda _: 999)
    before = len(source.requests)
    async with AsyncRad69(source.url) as rad69:
        result = await job.run(
            rad69, tmp_path / "images", rules=Rules(min_free_bytes=1000), on_wait=lambda _: job.stop()
        )
    assert len(source.requests) == before
    assert result.pending == result.instances


async def test_a_disk_that_is_gone(
    source: SimulatedSource, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of storage, as any other of the disk's; what was in flight is written, and nothing more is asked for."""
    looks, disk_usage = count(1), shutil.disk_usage

    def unmounted(folder: Path) -> Any:
        if next(looks) > 2:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        return disk_usage(folder)

    monkeypatch.setattr(shutil, "disk_usage", unmounted)
    before = len(source.requests)
    async with AsyncRad69(source.url, concurrency=1) as rad69:
        with pytest.raises(StorageError, match="images cannot be written: No such file or directory"):
            await job.run(rad69, tmp_path / "images", rules=Rules(min_free_bytes=1))
    asked = [uid for each in source.requests[before:] for uid in each.sop_instance_uids]
    result = await status(job)
    assert (len(source.requests) - before, result.done) == (2, len(asked))
    assert result.pending == result.instances - result.done


@pytest.mark.parametrize(
    ("window", "inside", "outside"),
    [
        ("19:00-07:00", ["19:00", "23:59", "00:00", "06:59"], ["07:00", "12:00", "18:59"]),
        ("08:30-17:00", ["08:30", "16:59"], ["17:00", "00:00", "08:29"]),
    ],
)
async def test_windows(window: str, inside: list[str], outside: list[str]) -> None:
    """Across midnight too; the end is not part of it; and from outside the next opening is at its start."""
    found = Window.parse(window)
    assert str(found) == window
    for clock in inside:
        assert found.has(datetime.combine(NOON, time.fromisoformat(clock)))
    for clock in outside:
        now = datetime.combine(NOON, time.fromisoformat(clock))
        assert not found.has(now)
        assert now < found.opens(now)
        assert found.opens(now).time() == found.start
        assert (found.opens(now) - now).days == 0


@pytest.mark.parametrize("text", ["19-7", "25:00-07:00", "07:00", "07:00-07:00", ""])
async def test_what_is_no_window(text: str) -> None:
    """HH:MM-HH:MM."""
    with pytest.raises(ValueError, match="window"):
        Window.parse(text)


@pytest.mark.parametrize("rule", [{"min_free_bytes": -1}, {"stop_after_failures": 0}, {"max_away_s": -1.0}])
async def test_rules_that_make_no_sense(rule: dict[str, Any]) -> None:
    """The message has the name of the rule."""
    with pytest.raises(ValueError, match=next(iter(rule))):
        Rules(**rule)
