"""The event stream: what a progress bar, a metric or an audit may rely on, in success, repetition and failure."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import aclosing
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from asyncrad69 import (
    AsyncRad69,
    BytesReceived,
    Event,
    Instance,
    InstanceFailed,
    InstancePresent,
    InstanceReference,
    InstanceVerified,
    NotARad69Response,
    RequestFinished,
    RequestStarted,
    RetrieveFinished,
    Retry,
    RetryScheduled,
    SeriesFinished,
    ServerBusy,
    SoapError,
    StorageError,
    XDSMissingDocumentError,
)
from asyncrad69._download import Download
from asyncrad69.testing import Fault, SimulatedSource
from replies import EBRS_STATUS, IHE_STATUS, answer, document, error, inline
from source import Asked, Scripted, ScriptedSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from asyncrad69._options import RetrieveOptions

pytestmark = pytest.mark.anyio

SOAP = ("Content-Type: application/soap+xml",)
AT_ONCE = Retry(attempts=3, wait_initial_s=0, wait_max_s=0)
UNKNOWN = InstanceReference("1.2.3", "1.2.3.1", "1.2.3.1.1", repository_unique_id="1.2.3.4")

E = TypeVar("E")


@pytest.fixture(scope="module")
def source() -> Iterator[SimulatedSource]:
    """A source with small instances in several series."""
    with SimulatedSource.demo(slices=3) as source:
        yield source


@pytest.fixture
def a_series(source: SimulatedSource) -> tuple[InstanceReference, ...]:
    """The instances of one series."""
    by_series = Counter(each.series_instance_uid for each in source.references())
    longest = max(by_series, key=lambda uid: by_series[uid])
    return tuple(each for each in source.references() if each.series_instance_uid == longest)


def of(kind: type[E], events: Iterable[object]) -> list[E]:
    """The events of one kind, in order."""
    return [each for each in events if isinstance(each, kind)]


def sequence(events: Iterable[object]) -> list[str]:
    """What happened, in order, without the bytes: they come as the network likes."""
    return [type(each).__name__ for each in events if not isinstance(each, BytesReceived)]


async def drained(
    url: str, references: Iterable[InstanceReference], **options: Any
) -> tuple[list[Event], BaseException | None]:
    """Every event of one retrieve, and what it raised."""
    events: list[Event] = []
    raised: BaseException | None = None
    async with AsyncRad69(url, on_event=events.append, **{"retry": AT_ONCE, "concurrency": 1, **options}) as rad69:
        try:
            async for _ in rad69.instances(list(references)):
                pass
        except Exception as exc:  # noqa: BLE001 - looked at by the tests
            raised = exc
    return events, raised


def replies(*makers: Callable[[Asked], Scripted]) -> Callable[[Asked], Scripted]:
    """One after the other, the last one again and again."""
    left = list(makers)

    def reply(asked: Asked) -> Scripted:
        maker = left.pop(0) if len(left) > 1 else left[0]
        return maker(asked)

    return reply


def with_documents(data: Callable[[str], bytes], *uids: str) -> Callable[[Asked], Scripted]:
    """An answer that says Success and has these instances."""

    def reply(asked: Asked) -> Scripted:
        documents = [document(uid, inline(data(uid))) for uid in uids]
        return Scripted(headers=SOAP, body=answer(documents, relates_to=asked.message_id).encode())

    return reply


def refusing(asked: Asked) -> Scripted:
    """An answer that has none of what was asked for."""
    errors = [error("XDSMissingDocument", location=uid) for uid in asked.wanted]
    status = f"{EBRS_STATUS}Failure"
    return Scripted(headers=SOAP, body=answer(status=status, errors=errors, relates_to=asked.message_id).encode())


def busy(asked: Asked) -> Scripted:
    return Scripted(status="503 Busy")


async def test_success(source: SimulatedSource, a_series: tuple[InstanceReference, ...]) -> None:
    """One request: started, every instance verified in turn, finished with its status, the series, the report."""
    events, raised = await drained(source.url, a_series)
    assert raised is None
    assert sequence(events) == [
        "RequestStarted",
        *["InstanceVerified"] * len(a_series),
        "RequestFinished",
        "SeriesFinished",
        "RetrieveFinished",
    ]
    (started,), (finished,), (series,) = (
        of(RequestStarted, events),
        of(RequestFinished, events),
        of(SeriesFinished, events),
    )
    assert started.references == finished.references == a_series
    assert started.message_id == finished.message_id == source.requests[-1].message_id
    assert (finished.status, finished.error) == ("Success", None)
    verified = of(InstanceVerified, events)
    assert tuple(each.reference for each in verified) == a_series
    assert [each.size_bytes for each in verified] == [len(source.data(each.sop_instance_uid)) for each in a_series]
    assert (series.study_instance_uid, series.series_instance_uid, series.delivered, series.failed) == (
        a_series[0].study_instance_uid,
        a_series[0].series_instance_uid,
        len(a_series),
        0,
    )


async def test_the_bytes_add_up(source: SimulatedSource) -> None:
    """The sizes of BytesReceived are the report's received_bytes; they come while a request is open."""
    events, _ = await drained(source.url, source.references())
    (last,) = of(RetrieveFinished, events)
    assert sum(each.size_bytes for each in of(BytesReceived, events)) == last.report.received_bytes > 0
    open_requests = 0
    for each in events:
        open_requests += isinstance(each, RequestStarted) - isinstance(each, RequestFinished)
        assert open_requests or not isinstance(each, BytesReceived | InstanceVerified)


@pytest.mark.parametrize("concurrency", [1, 4])
async def test_each_series_finishes_once_with_its_counts(source: SimulatedSource, concurrency: int) -> None:
    """Several requests per series, in any order, with an instance that nobody has: counts add up to what was asked."""
    asked = [*source.references(), UNKNOWN]
    events, _ = await drained(source.url, asked, instances_per_request=1, concurrency=concurrency)
    counts = {each.series_instance_uid: (each.delivered, each.failed) for each in of(SeriesFinished, events)}
    assert len(counts) == len(of(SeriesFinished, events))
    expected = Counter(each.series_instance_uid for each in source.references())
    assert counts == {**{uid: (count, 0) for uid, count in expected.items()}, UNKNOWN.series_instance_uid: (0, 1)}


async def test_a_series_finishes_after_its_last_instance(source: SimulatedSource) -> None:
    """No instance of a series is verified or failed after the series was said to be finished."""
    events, _ = await drained(source.url, [*source.references(), UNKNOWN], concurrency=4, instances_per_request=1)
    done: set[str] = set()
    for each in events:
        if isinstance(each, SeriesFinished):
            done.add(each.series_instance_uid)
        assert not (isinstance(each, InstanceVerified | InstanceFailed) and each.reference.series_instance_uid in done)


async def test_repetition(source: SimulatedSource, a_series: tuple[InstanceReference, ...]) -> None:
    """What an answer left out is scheduled, then asked for under a new MessageID; only the rest, and it comes once."""
    first, *rest = (each.sop_instance_uid for each in a_series)
    script = replies(with_documents(source.data, first), with_documents(source.data, *rest))
    with ScriptedSource(script) as scripted:
        events, raised = await drained(scripted.url, a_series)
    assert raised is None
    assert sequence(events) == [
        "RequestStarted",
        "InstanceVerified",
        "RequestFinished",
        "RetryScheduled",
        "RequestStarted",
        *["InstanceVerified"] * len(rest),
        "RequestFinished",
        "SeriesFinished",
        "RetrieveFinished",
    ]
    (scheduled,) = of(RetryScheduled, events)
    one, two = of(RequestStarted, events)
    assert scheduled.references == two.references == a_series[1:]
    assert scheduled.wait_s == 0.0
    assert one.message_id != two.message_id


async def test_a_busy_source(source: SimulatedSource, a_series: tuple[InstanceReference, ...]) -> None:
    """The failed request has its error and no status; the wait is the one that was scheduled."""
    uids = [each.sop_instance_uid for each in a_series]
    with ScriptedSource(replies(busy, with_documents(source.data, *uids))) as scripted:
        events, raised = await drained(scripted.url, a_series)
    assert raised is None
    failed, good = of(RequestFinished, events)
    assert isinstance(failed.error, ServerBusy)
    assert (failed.status, good.error) == (None, None)
    assert [each.references for each in of(RetryScheduled, events)] == [a_series]
    assert of(InstanceFailed, events) == []


async def test_refusal() -> None:
    """A refused instance fails once, with its error, inside the exchange that said so; the exchange went well."""
    with ScriptedSource(refusing) as scripted:
        events, raised = await drained(scripted.url, [UNKNOWN])
    assert sequence(events) == [
        "RequestStarted",
        "InstanceFailed",
        "RequestFinished",
        "SeriesFinished",
        "RetrieveFinished",
    ]
    (failed,), (finished,) = of(InstanceFailed, events), of(RequestFinished, events)
    assert failed.reference == UNKNOWN
    assert isinstance(failed.error, XDSMissingDocumentError)
    assert raised is not None
    assert raised.__cause__ is failed.error
    assert (finished.status, finished.error) == ("Failure", None)


async def test_omission() -> None:
    """What the source twice says nothing about fails without an error."""
    with ScriptedSource(with_documents(lambda _: b"")) as scripted:
        events, _ = await drained(scripted.url, [UNKNOWN])
    assert [(each.reference, each.error) for each in of(InstanceFailed, events)] == [(UNKNOWN, None)]


@pytest.mark.parametrize("status", ["PartialSuccess", "Success"])
@pytest.mark.parametrize("vocabulary", [IHE_STATUS, EBRS_STATUS])
async def test_the_status_is_the_source_s_own_word(
    source: SimulatedSource, a_series: tuple[InstanceReference, ...], status: str, vocabulary: str
) -> None:
    """RequestFinished has the status's last word, whichever vocabulary it was written in."""

    def reply(asked: Asked) -> Scripted:
        documents = [document(uid, inline(source.data(uid))) for uid in asked.wanted]
        return Scripted(
            headers=SOAP, body=answer(documents, status=vocabulary + status, relates_to=asked.message_id).encode()
        )

    with ScriptedSource(reply) as scripted:
        events, _ = await drained(scripted.url, a_series)
    assert [each.status for each in of(RequestFinished, events)] == [status]


@pytest.mark.parametrize("ending", ["fatal", "stop"])
async def test_an_end_for_all(source: SimulatedSource, ending: str) -> None:
    """A login page, or the first failure under "stop": every instance has failed, every series is finished."""
    asked = [UNKNOWN, *source.references()]
    page = Scripted(headers=("Content-Type: text/html",), body=b"<html>log in</html>")
    with ScriptedSource(refusing if ending == "stop" else lambda _: page) as scripted:
        events, raised = await drained(scripted.url, asked, on_failure="stop" if ending == "stop" else "finish")
    assert isinstance(raised, XDSMissingDocumentError if ending == "stop" else NotARad69Response)
    assert Counter(each.reference for each in of(InstanceFailed, events)) == Counter(asked)
    finished = [each.series_instance_uid for each in of(SeriesFinished, events)]
    assert sorted(finished) == sorted({each.series_instance_uid for each in asked})
    assert isinstance(events[-1], RetrieveFinished)
    assert len(of(RequestStarted, events)) == 1


async def test_leaving_early(source: SimulatedSource) -> None:
    """The last event is still the report; what was not asked for has neither come nor failed."""
    events: list[Event] = []
    options: RetrieveOptions = {"on_event": events.append, "concurrency": 1, "instances_per_request": 1}
    async with AsyncRad69(source.url, **options) as rad69, aclosing(rad69.instances(source.references())) as instances:
        await anext(instances)
    (last,) = of(RetrieveFinished, events)
    assert events[-1] is last
    assert not last.report.complete
    assert of(InstanceFailed, events) == []
    assert sum(row.state == "delivered" for row in last.report.rows) == 1


async def test_a_retrieve_of_nothing(source: SimulatedSource) -> None:
    """Only the report."""
    events, raised = await drained(source.url, [])
    assert raised is None
    assert sequence(events) == ["RetrieveFinished"]


async def test_what_is_in_its_file_is_present(source: SimulatedSource, tmp_path: Path) -> None:
    """A download's second run: present, with the file's size, and its series finished, with nothing sent."""
    events: list[Event] = []
    async with AsyncRad69(source.url, on_event=events.append) as rad69:
        await rad69.download(source.references(), tmp_path)
        assert of(InstancePresent, events) == []
        events.clear()
        await rad69.download(source.references(), tmp_path)
    present = {each.reference: each.size_bytes for each in of(InstancePresent, events)}
    assert present == {each: len(source.data(each.sop_instance_uid)) for each in source.references()}
    counts = {each.series_instance_uid: (each.delivered, each.failed) for each in of(SeriesFinished, events)}
    expected = Counter(each.series_instance_uid for each in source.references())
    assert counts == {uid: (count, 0) for uid, count in expected.items()}
    assert set(sequence(events)) == {"InstancePresent", "SeriesFinished", "RetrieveFinished"}


@pytest.mark.parametrize("error", [ZeroDivisionError("mine"), SoapError("mine"), StorageError("mine")], ids=repr)
@pytest.mark.parametrize(
    "kind", [RequestStarted, BytesReceived, InstanceVerified, RequestFinished, SeriesFinished, RetrieveFinished]
)
async def test_what_a_callback_raises_ends_the_retrieve(
    source: SimulatedSource, kind: type[object], error: Exception
) -> None:
    """It is raised as it is, whatever it is; no instance comes after it, and the last event is still the report."""
    told: list[Event] = []
    came: list[Instance] = []

    def broken(event: Event) -> None:
        told.append(event)
        if isinstance(event, kind):
            raise error

    async def take(rad69: AsyncRad69) -> None:
        async for instance in rad69.instances(source.references()):
            came.append(instance)  # noqa: PERF401 - what came before the error counts

    async with AsyncRad69(source.url, on_event=broken, concurrency=1) as rad69:
        with pytest.raises(type(error), match="mine") as caught:
            await take(rad69)
        assert caught.value is error
        assert kind is not InstanceVerified or not came
        assert len(of(kind, told)) == 1
        assert sequence(told)[-1] == "RetrieveFinished"
        assert len([each async for each in rad69.instances(source.references()[:1], on_event=None)]) == 1


async def test_what_a_callback_raises_before_the_start(source: SimulatedSource, tmp_path: Path) -> None:
    """Of an instance that is in its file already: raised by the download, which sends nothing."""
    async with AsyncRad69(source.url) as rad69:
        await rad69.download(source.references()[:2], tmp_path)
        before = len(source.requests)

        def broken(_: Event) -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await rad69.download(source.references()[:3], tmp_path, on_event=broken)
    assert len(source.requests) == before


async def test_a_series_is_finished_when_its_files_are_written(source: SimulatedSource, tmp_path: Path) -> None:
    """A file with other content in the way is known by then: the event counts as the report does."""
    events: list[Event] = []
    async with AsyncRad69(source.url, on_event=events.append, on_failure="report") as rad69:
        report = await rad69.download(source.references(), tmp_path)
        lost = report.delivered[len(report.delivered) // 2]
        assert lost.path is not None
        Path(lost.path).write_bytes(b"another")
        (tmp_path / ".asyncrad69").rename(tmp_path / "elsewhere")
        events.clear()
        report = await rad69.download(source.references(), tmp_path)
    assert [row.reference for row in report.missing] == [lost.reference]
    failed = {each.series_instance_uid: each.failed for each in of(SeriesFinished, events)}
    assert failed[lost.reference.series_instance_uid] == 1
    assert sum(failed.values()) == 1


async def test_a_series_that_is_written_is_finished_when_the_retrieve_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends while the series is on its way to the disk, for an instance that the source does not have."""
    failed = threading.Event()
    store = Download.store

    def slow(self: Download, instances: Sequence[Instance]) -> list[Path | StorageError]:
        outcomes = store(self, instances)
        assert failed.wait(10)
        return outcomes

    events: list[Event] = []

    def note(event: Event) -> None:
        events.append(event)
        if isinstance(event, InstanceFailed):
            failed.set()

    monkeypatch.setattr(Download, "store", slow)
    with SimulatedSource.demo(slices=3, faults=[Fault.stall(0.5, nth=2)]) as source:
        of_series = groupby(source.references(), attrgetter("series_instance_uid"))
        three = next(each for each in (tuple(group) for _, group in of_series) if len(each) > 2)[:3]
        async with AsyncRad69(source.url, on_event=note, on_failure="stop", concurrency=2) as rad69:
            with pytest.raises(XDSMissingDocumentError):
                await rad69.download([*three, UNKNOWN], tmp_path)
    (finished,) = of(RetrieveFinished, events)
    written = [row for row in finished.report.rows if row.path is not None]
    told = {each.series_instance_uid: each.delivered for each in of(SeriesFinished, events)}
    if len(written) == 3:  # as a rule; else they came in several blocks, and it ended before the last
        assert told[three[0].series_instance_uid] == 3


async def test_what_came_counts_when_the_retrieve_is_left(source: SimulatedSource) -> None:
    """The report has every byte that an event told of."""
    events: list[Event] = []
    async with (
        AsyncRad69(source.url, on_event=events.append) as rad69,
        rad69.retrieve(source.references()) as retrieval,
    ):
        async for _ in retrieval:
            break
    assert retrieval.report.received_bytes == sum(each.size_bytes for each in of(BytesReceived, events)) > 0
