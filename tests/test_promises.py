"""What a source promises, leaves out, cuts or confuses, what the report says then, and how a retrieve ends early."""

from __future__ import annotations

import io
import threading
import time
import warnings
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import anyio
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID

from asyncrad69 import (
    AsyncRad69,
    DocumentReference,
    Event,
    IncompleteRetrieveError,
    Instance,
    InstanceFailed,
    InstanceReference,
    InstanceVerified,
    InvalidInstanceError,
    Rad69,
    RequestStarted,
    Retrieval,
    RetrieveFinished,
    SeriesFinished,
    XDSMissingDocumentError,
)
from asyncrad69._download import Download
from replies import EBRS_STATUS, STACKS, Sent, answer, error
from source import Scripted, ScriptedSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from source import Asked

pytestmark = pytest.mark.anyio

STUDY, SERIES = "1.2.10", "1.2.10.1"
CXF = STACKS["cxf"]


def of_one_series(count: int) -> list[InstanceReference]:
    return [InstanceReference(STUDY, SERIES, f"{SERIES}.{n}", repository_unique_id="1.9") for n in range(1, count + 1)]


def of_series_each(count: int) -> list[InstanceReference]:
    return [
        InstanceReference(STUDY, f"{STUDY}.{n}", f"{STUDY}.{n}.1", repository_unique_id="1.9")
        for n in range(1, count + 1)
    ]


def file(reference: InstanceReference, *, study_instance_uid: str = "") -> bytes:
    """A DICOM file of about 2 KB, of that study or another."""
    dataset = Dataset()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.104.1"
    dataset.SOPInstanceUID = reference.sop_instance_uid
    dataset.SeriesInstanceUID = reference.series_instance_uid
    dataset.StudyInstanceUID = study_instance_uid or reference.study_instance_uid
    dataset.EncapsulatedDocument = bytes(1500)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.1")
    written = io.BytesIO()
    dataset.save_as(written, enforce_file_format=True)
    return written.getvalue()


def reply(asked: Asked, sent: Iterable[Sent], errors: Iterable[str] = (), *, cut: int = 0) -> Scripted:
    """An answer with documents and errors; its last *cut* bytes do not come."""
    documents, complaints = list(sent), list(errors)
    status = EBRS_STATUS + ("PartialSuccess" if complaints else "Success")
    responses = [CXF._response(number, each) for number, each in enumerate(documents, 1)]
    root = answer(responses, status=status, errors=complaints, relates_to=asked.message_id)
    written = CXF.write(documents, root=root)
    body = written.body[: len(written.body) - cut]
    return Scripted(headers=(f"Content-Type: {written.content_type}",), body=body, length=len(written.body))


def everything(references: Iterable[InstanceReference]) -> Callable[[Asked], Scripted]:
    """A source that has them all."""
    data = {each.sop_instance_uid: file(each) for each in references}
    return lambda asked: reply(asked, [Sent(uid, data[uid]) for uid in asked.wanted])


async def test_an_error_that_names_nothing_is_not_that_of_what_the_answer_promises() -> None:
    """The answer is cut: what it promised is asked for again, and only what it did not is refused."""
    references = of_one_series(5)
    data = {each.sop_instance_uid: file(each) for each in references}
    gone = references[-1].sop_instance_uid
    cuts = iter([3000])

    def script(asked: Asked) -> Scripted:
        errors = [error("XDSMissingDocument", location="")] if gone in asked.wanted else []
        return reply(asked, [Sent(uid, data[uid]) for uid in asked.wanted if uid != gone], errors, cut=next(cuts, 0))

    with ScriptedSource(script) as source:
        async with (
            AsyncRad69(source.url, ignore=(XDSMissingDocumentError,)) as rad69,
            rad69.retrieve(references) as retrieval,
        ):
            came = [each.reference async for each in retrieval]
    assert sorted(came, key=references.index) == references[:4]
    assert [row.state for row in retrieval.report.rows] == ["delivered"] * 4 + ["refused"]


@pytest.mark.parametrize("policy", ["refuse", "deliver"])
async def test_another_instance_than_asked_for_is_never_delivered(policy: str, tmp_path: Path) -> None:
    """Under the name of the one that was asked for there may be another patient; damaged is something else."""
    (reference,) = of_one_series(1)
    foreign = file(reference, study_instance_uid="9.9.9")
    with ScriptedSource(lambda asked: reply(asked, [Sent(uid, foreign) for uid in asked.wanted])) as source:
        async with AsyncRad69(source.url, invalid_instances=policy) as rad69:  # type: ignore[arg-type]
            report = await rad69.download(reference, tmp_path, on_failure="report")
    (row,) = report.rows
    assert row.state == "missing"
    assert isinstance(row.error, InvalidInstanceError)
    assert "another Study Instance UID" in str(row.error)
    assert not list(tmp_path.rglob("*.dcm"))


async def test_a_damaged_instance_that_is_delivered_is_flagged_in_the_report() -> None:
    """As on the instance itself."""
    (reference,) = of_one_series(1)
    damaged = file(reference)[:-50]
    with ScriptedSource(lambda asked: reply(asked, [Sent(uid, damaged) for uid in asked.wanted])) as source:
        async with AsyncRad69(source.url, invalid_instances="deliver") as rad69, rad69.retrieve(reference) as retrieval:
            errors = [each.error async for each in retrieval]
    assert [row.error for row in retrieval.report.rows] == errors
    assert isinstance(errors[0], InvalidInstanceError)


async def test_told_to_stop_before_it_began() -> None:
    """A loop that brings nothing of what was asked for must not end as if all were well."""
    with ScriptedSource(everything(())) as source:
        async with AsyncRad69(source.url) as rad69, rad69.retrieve(of_one_series(1)) as retrieval:
            retrieval.stop_asking()
            with pytest.raises(IncompleteRetrieveError, match="0 of 1"):
                await anext(retrieval)
    assert source.requests == []


async def test_closed_by_another_task_while_it_is_iterated_over() -> None:
    """The loop must not end as if all were well."""
    references = of_series_each(3)
    with ScriptedSource(everything(references)) as source:
        async with AsyncRad69(source.url, concurrency=1) as rad69, rad69.retrieve(references) as retrieval:
            await anext(retrieval)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(retrieval.aclose)
            with pytest.raises(RuntimeError, match="closed before all had come"):
                await anext(retrieval)


async def test_what_waited_to_be_taken_when_all_ended_has_the_reason_too() -> None:
    """Every instance that did not reach the caller has an error, its event, and its place among its series' counts."""
    references = of_series_each(2)
    events: list[Event] = []
    verified = anyio.Event()

    def note(event: Event) -> None:
        events.append(event)
        if isinstance(event, InstanceVerified):
            verified.set()

    with ScriptedSource(everything(references[:1])) as good, ScriptedSource(lambda _: None) as bad:
        repositories = {"1.8": bad.url}
        wanted = [references[0], InstanceReference(STUDY, "1.2.20", "1.2.20.1", repository_unique_id="1.8")]
        async with (
            AsyncRad69(good.url, endpoints=repositories, on_event=note, on_failure="stop") as rad69,
            rad69.retrieve(wanted) as retrieval,
        ):
            running = retrieval._start()
            retrieval._running = running
            await verified.wait()
            await running.finished.wait()
            with pytest.raises(Exception, match=r".") as caught:
                await anext(retrieval)
    assert [row.state for row in retrieval.report.rows] == ["missing", "missing"]
    assert all(row.error is not None and row.size_bytes == 0 for row in retrieval.report.rows), caught.value
    assert {each.reference for each in events if isinstance(each, InstanceFailed)} == set(wanted)
    told = [each.series_instance_uid for each in events if isinstance(each, SeriesFinished)]
    assert len(told) == len(set(told))


async def test_stop_stops_at_an_instance_that_nothing_explains() -> None:
    """A source that leaves it out without a word is a failure as any other."""
    references = of_series_each(4)
    first = references[0].sop_instance_uid
    data = {each.sop_instance_uid: file(each) for each in references}
    script = lambda asked: reply(asked, [Sent(uid, data[uid]) for uid in asked.wanted if uid != first])  # noqa: E731
    with ScriptedSource(script) as source:
        async with AsyncRad69(source.url, on_failure="stop", concurrency=1) as rad69:
            with pytest.raises(Exception, match="names no reason") as caught:
                [each async for each in rad69.instances(references)]
    assert caught.value.references == (references[0],)  # type: ignore[attr-defined]
    assert len(source.requests) == 2


async def test_a_retrieve_that_is_left_with_its_client_has_its_last_word() -> None:
    """Whoever audits learns of it, and of what came."""
    references = of_series_each(3)
    events: list[Event] = []
    with ScriptedSource(everything(references)) as source:
        async with AsyncRad69(source.url, on_event=events.append, concurrency=1) as rad69:
            async for _ in rad69.retrieve(references):
                break
    assert [type(each) for each in events].count(RetrieveFinished) == 1
    assert isinstance(events[-1], RetrieveFinished)
    assert len(events[-1].report.delivered) == 1


async def test_a_client_is_closed_by_the_task_that_opened_it() -> None:
    """Another one learns that at once, and the client stays open."""
    references = of_series_each(1)
    with ScriptedSource(everything(references)) as source:
        async with AsyncRad69(source.url) as rad69:

            async def close() -> None:
                with pytest.raises(RuntimeError, match="by the task that opened it"):
                    await rad69.aclose()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(close)
            assert len([each async for each in rad69.instances(references)]) == 1


async def test_a_client_that_is_closed_ends_what_asks_for_documents() -> None:
    """However long it would have waited for its turn."""
    document = DocumentReference(document_unique_id="1.2.3.1", repository_unique_id="1.9")

    async def ask(rad69: AsyncRad69) -> None:
        with pytest.raises(RuntimeError, match="closed while documents were asked for"):
            await rad69.retrieve_documents(document)

    with ScriptedSource(everything(())) as source, anyio.fail_after(30):
        async with anyio.create_task_group() as tasks, AsyncRad69(source.url, max_requests_per_minute=1) as rad69:
            rad69.services.throttle.request_at(anyio.current_time())
            tasks.start_soon(ask, rad69)
            await anyio.wait_all_tasks_blocked()
    assert source.requests == []


async def test_who_leaves_before_its_turn_has_not_used_it() -> None:
    """The next one waits for the rate, and not for requests that were never sent."""
    references = of_series_each(5)
    with ScriptedSource(everything(references)) as source:
        async with AsyncRad69(source.url, max_requests_per_minute=2, concurrency=5) as rad69:
            with anyio.move_on_after(0.3):
                [each async for each in rad69.instances(references)]
            now = anyio.current_time()
            assert rad69.services.throttle.request_at(now) - now <= 30


async def test_what_was_given_up_waits_for_no_turn() -> None:
    """A source that refuses us is asked once, and the others need not wait for the rest of its requests."""
    there = of_series_each(1)
    refused = [InstanceReference(STUDY, f"1.2.3.{n}", f"1.2.3.{n}.1", repository_unique_id="1.8") for n in range(100)]
    with (
        ScriptedSource(everything(there)) as good,
        ScriptedSource(lambda _: Scripted(status="403 Forbidden")) as bad,
        anyio.fail_after(30),
    ):
        async with (
            AsyncRad69(
                good.url, endpoints={"1.8": bad.url}, max_requests_per_minute=60, concurrency=1, on_failure="report"
            ) as rad69,
            rad69.retrieve([*refused, *there]) as retrieval,
        ):
            assert [each.reference async for each in retrieval] == there
    assert len(bad.requests) == 1


async def test_reading_what_is_there_ends_with_its_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of large files take hours to verify."""
    references, looked_at = of_series_each(200), []

    def look(_download: Download, reference: InstanceReference, _path: Path) -> bool:
        looked_at.append(reference)
        time.sleep(0.05)
        return False

    monkeypatch.setattr(Download, "_counts", look)
    monkeypatch.setattr("pathlib.Path.exists", lambda _path: True)
    with ScriptedSource(everything(())) as source:
        async with AsyncRad69(source.url) as rad69:
            with anyio.move_on_after(0.2) as left:
                await rad69.download(references, tmp_path, existing="verify")
    assert left.cancelled_caught
    assert len(looked_at) < len(references) / 2


def test_the_blocking_client_is_told_to_stop_by_an_event() -> None:
    """From any thread includes the event loop's own."""
    references = of_series_each(3)
    with ScriptedSource(everything(references)) as source:

        def stop(event: Event) -> None:
            if isinstance(event, RequestStarted):
                retrieval.stop_asking()

        with (
            Rad69(source.url, on_failure="report", on_event=stop, concurrency=1) as rad69,
            rad69.retrieve(references) as retrieval,
        ):
            assert len(list(retrieval)) == 1


def test_an_interrupt_at_the_moment_of_a_fetch_loses_no_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the interrupted fetch still brings was never the caller's."""
    references = of_one_series(20)
    plain, armed = Future.result, threading.Event()

    def result(future: Future[object], timeout: float | None = None) -> object:
        if armed.is_set() and threading.current_thread() is threading.main_thread():
            armed.clear()
            raise KeyboardInterrupt
        return plain(future, timeout)

    monkeypatch.setattr(Future, "result", result)
    taken: list[Instance] = []

    def take(retrieval: Retrieval) -> None:
        with retrieval:
            for instance in retrieval:
                taken.append(instance)
                time.sleep(0.02)  # the next is there by then
                armed.set()

    with ScriptedSource(everything(references)) as source, Rad69(source.url) as rad69:
        retrieval = rad69.retrieve(references)
        with pytest.raises(KeyboardInterrupt):
            take(retrieval)
        assert len(retrieval.report.delivered) == len(taken)


def test_threads_share_a_retrieval() -> None:
    """Each instance goes to one of them, and all of them learn of the end."""
    references = of_one_series(40)
    with (
        ScriptedSource(everything(references)) as source,
        Rad69(source.url) as rad69,
        rad69.retrieve(references) as retrieval,
        ThreadPoolExecutor(4) as threads,
    ):
        shares = [future.result(60) for future in [threads.submit(list, retrieval) for _ in range(4)]]
    assert sorted(references.index(each.reference) for share in shares for each in share) == [*range(40)]


def test_a_client_forgotten_in_its_own_thread_is_closed() -> None:
    """The garbage collector may run there, and the thread cannot wait for itself."""
    with ScriptedSource(everything(())) as source:
        rad69 = Rad69(source.url)
        rad69.__enter__()
        thread, clients = rad69.thread(), [rad69]
        del rad69

        async def forget() -> None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                clients.clear()

        thread.call(forget)
        for closing in [each for each in threading.enumerate() if each.name.startswith("asyncrad69")]:
            closing.join(30)
        assert not [each for each in threading.enumerate() if each.name.startswith("asyncrad69")]
