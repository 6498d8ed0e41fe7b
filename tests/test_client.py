"""AsyncRad69 on asyncio and trio: what arrives, what is reported, and how it ends."""

from __future__ import annotations

import threading
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from asyncrad69 import (
    AsyncRad69,
    Event,
    IncompleteRetrieveError,
    InstanceFailed,
    InstanceReference,
    NotARad69Response,
    Rad69Error,
    RequestStarted,
    RetrieveFinished,
    Retry,
    SeriesFinished,
    SoapError,
    Timeout,
    XDSMissingDocumentError,
    _client,
    _instance,
)
from asyncrad69._dicom import read_dataset
from asyncrad69._ledger import Ledger
from asyncrad69.testing import SimulatedSource
from replies import EBRS_STATUS, answer
from source import Asked, Scripted, ScriptedSource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from asyncrad69._dataset import DatasetReader
    from asyncrad69._dicom import Dataset

pytestmark = pytest.mark.anyio

REPOSITORY = "1.2.3.4"
UNKNOWN = InstanceReference("1.2.3", "1.2.3.1", "1.2.3.1.1", repository_unique_id=REPOSITORY)
SOAP = ("Content-Type: application/soap+xml",)


@pytest.fixture(scope="module")
def source() -> Iterator[SimulatedSource]:
    """A source with small instances."""
    with SimulatedSource.demo(slices=2) as source:
        yield source


@pytest.mark.parametrize("concurrency", [1, 4, 16])
async def test_every_instance_once_as_sent(source: SimulatedSource, concurrency: int) -> None:
    """Whatever the concurrency, each instance comes once, byte for byte."""
    async with AsyncRad69(source.url, concurrency=concurrency) as rad69:
        came = [(each.reference, each.data) async for each in rad69.instances(source.references())]
    expected = {each: source.data(each.sop_instance_uid) for each in source.references()}
    assert len(came) == len(expected)
    assert dict(came) == expected


async def test_a_large_dataset_is_parsed_in_a_thread(source: SimulatedSource, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others are parsed where the event loop is, which takes less time than a thread."""
    threads: list[int] = []

    def watched(data: bytes, reader: DatasetReader, *, force: bool) -> Dataset:
        threads.append(threading.get_ident())
        return read_dataset(data, reader, force=force)

    monkeypatch.setattr(_instance, "read_dataset", watched)
    reference = source.references()[-1]
    async with AsyncRad69(source.url) as rad69:
        inline = await rad69.get_dataset(reference)
        monkeypatch.setattr(_client, "_PARSE_IN_THREAD", len(source.data(reference.sop_instance_uid)))
        assert await rad69.get_dataset(reference) == inline
    assert threads[0] == threading.get_ident()
    assert threads[1] != threading.get_ident()


async def test_one_request_arrives_in_the_order_asked(source: SimulatedSource) -> None:
    """With one request at a time, arrival order is the order of the request, and the datasets are parsed."""
    wanted = source.references()[:9]
    async with AsyncRad69(source.url, concurrency=1, instances_per_request=0) as rad69:
        came = [each.SOPInstanceUID async for each in rad69.datasets(wanted)]
    assert came == [each.sop_instance_uid for each in wanted]


async def test_duplicates_are_asked_for_once(source: SimulatedSource) -> None:
    """The same reference twice is one row, one delivery."""
    first = source.references()[0]
    async with AsyncRad69(source.url) as rad69, rad69.retrieve([first, first]) as retrieval:
        came = [each async for each in retrieval]
    assert len(came) == len(retrieval.report.rows) == 1


async def test_nothing_is_sent_before_the_first_is_asked_for(source: SimulatedSource) -> None:
    """Making and even entering a retrieve sends nothing; a closed one does not look like one without instances."""
    before = len(source.requests)
    async with AsyncRad69(source.url) as rad69:
        async with rad69.retrieve(source.references()) as retrieval:
            assert retrieval.report.seconds == 0.0
        with pytest.raises(RuntimeError, match="closed before all had come"):
            await anext(retrieval)
        await rad69.datasets(source.references()).aclose()
    assert len(source.requests) == before


async def test_no_references_is_a_complete_retrieve(source: SimulatedSource) -> None:
    """Nothing asked, nothing sent, nothing missing."""
    async with AsyncRad69(source.url) as rad69, rad69.retrieve([]) as retrieval:
        assert [each async for each in retrieval] == []
    assert retrieval.report.complete
    assert retrieval.report.requests == 0


async def test_finish_delivers_the_rest_and_raises(source: SimulatedSource) -> None:
    """By default all that can be had comes first; the error has references, report, hint and cause."""
    known = source.references()[:3]
    came = []
    async with AsyncRad69(source.url) as rad69:
        with pytest.raises(IncompleteRetrieveError, match="3 of 4 instances arrived") as caught:  # noqa: PT012 - at the end of the loop
            async for each in rad69.instances([UNKNOWN, *known]):
                came.append(each.reference)  # noqa: PERF401 - the loop ends with an error
    assert set(came) == set(known)
    assert caught.value.references == (UNKNOWN,)
    assert [row.reference for row in caught.value.report.refused] == [UNKNOWN]
    assert isinstance(caught.value.__cause__, XDSMissingDocumentError)
    assert "report.refused" in str(caught.value)


async def test_stop_raises_the_first_failure(source: SimulatedSource) -> None:
    """With "stop" the failure itself is raised, and no later request is sent."""
    before = len(source.requests)
    async with AsyncRad69(source.url, on_failure="stop", concurrency=1) as rad69:
        with pytest.raises(XDSMissingDocumentError) as caught:
            async for _ in rad69.instances([UNKNOWN, *source.references()]):
                pass
    assert len(source.requests) == before + 1
    assert caught.value.references == (UNKNOWN,)
    assert caught.value.report is not None
    assert not caught.value.report.complete


@pytest.mark.parametrize("option", [{"on_failure": "report"}, {"ignore": (XDSMissingDocumentError,)}])
async def test_tolerated_failures_only_report(source: SimulatedSource, option: dict[str, Any]) -> None:
    """Report and ignore raise nothing; the row stays refused."""
    async with AsyncRad69(source.url) as rad69, rad69.retrieve([UNKNOWN], **option) as retrieval:
        assert [each async for each in retrieval] == []
    assert [row.state for row in retrieval.report.rows] == ["refused"]
    assert retrieval.report.complete == ("ignore" in option)


@pytest.mark.parametrize("option", [{}, {"on_failure": "report"}, {"ignore": (XDSMissingDocumentError,)}])
async def test_get_dataset_raises_why(source: SimulatedSource, option: dict[str, Any]) -> None:
    """Where there is no Dataset to return there is an error, also where a retrieve would tolerate it."""
    async with AsyncRad69(source.url, **option) as rad69:
        dataset = await rad69.get_dataset(source.references()[0])
        assert dataset.SOPInstanceUID == source.references()[0].sop_instance_uid
        with pytest.raises(XDSMissingDocumentError, match="XDSMissingDocument") as caught:
            await rad69.get_dataset(UNKNOWN)
        assert caught.value.report is not None
        assert [row.reference for row in caught.value.report.rows] == [UNKNOWN]
        with pytest.raises(XDSMissingDocumentError):
            await rad69.get_dataset(UNKNOWN, **option)
        with pytest.raises(ValueError, match="takes one reference"):
            await rad69.get_dataset(source.references()[:2])


@pytest.mark.parametrize("on_failure", ["finish", "stop", "report"])
async def test_what_concerns_the_endpoint_is_raised_in_every_mode(on_failure: Any) -> None:
    """A login page ends the retrieve at once, with the report."""
    page = Scripted(headers=("Content-Type: text/html",), body=b"<html>log in</html>")
    with ScriptedSource(lambda _: page) as source:
        async with AsyncRad69(source.url, on_failure=on_failure) as rad69:
            with pytest.raises(NotARad69Response) as caught:
                async for _ in rad69.instances([UNKNOWN]):
                    pass
    assert len(source.requests) == 1
    assert caught.value.report is not None
    assert [row.state for row in caught.value.report.rows] == ["missing"]


async def test_an_answer_to_another_request_is_refused() -> None:
    """A RelatesTo that is not our MessageID may bring another patient: nothing of that reply counts."""
    reply = Scripted(headers=SOAP, body=answer(relates_to="urn:uuid:another").encode())
    with ScriptedSource(lambda _: reply) as source:
        async with AsyncRad69(source.url, retry=Retry(attempts=1)) as rad69:
            with pytest.raises(SoapError, match="answers another request"):
                await rad69.get_dataset(UNKNOWN)


async def test_what_a_good_answer_leaves_out_is_asked_once_more() -> None:
    """Success without the instance: asked twice, with two MessageIDs, then missing without an error."""

    def script(asked: Asked) -> Scripted:
        return Scripted(headers=SOAP, body=answer(status=f"{EBRS_STATUS}Success", relates_to=asked.message_id).encode())

    with ScriptedSource(script) as source:
        async with AsyncRad69(source.url) as rad69, rad69.retrieve([UNKNOWN], on_failure="report") as retrieval:
            assert [each async for each in retrieval] == []
    row = retrieval.report.rows[0]
    assert (row.state, row.error, row.attempts) == ("missing", None, 2)
    assert len({asked.message_id for asked in source.requests}) == len(source.requests) == 2


async def test_retry_after_that_is_no_date_is_no_bug() -> None:
    """A year beyond every calendar in Retry-After is like none."""
    busy = Scripted(status="503 Busy", headers=("Retry-After: Mon, 01 Jan 99999999999 00:00:00 GMT",))
    with ScriptedSource(lambda _: busy) as source:
        async with AsyncRad69(source.url, retry=Retry(attempts=1)) as rad69:
            with pytest.raises(IncompleteRetrieveError):
                async for _ in rad69.instances([UNKNOWN]):
                    pass


async def test_calls_override_the_client(source: SimulatedSource) -> None:
    """An option of a call holds for that call only."""
    bare = replace(source.references()[0], repository_unique_id=None)
    async with AsyncRad69(source.url, repository_unique_id="1.9") as rad69:
        assert (await rad69.get_dataset(bare, repository_unique_id=REPOSITORY)).SOPInstanceUID == bare.sop_instance_uid
        with pytest.raises(IncompleteRetrieveError):
            async for _ in rad69.instances(bare):
                pass


async def test_events_tell_the_whole_story(source: SimulatedSource) -> None:
    """A request starts first, each series finishes once, and the last word is the report."""
    events: list[Event] = []
    async with AsyncRad69(source.url, on_event=events.append) as rad69:
        async for _ in rad69.instances(source.references()):
            pass
    assert isinstance(events[0], RequestStarted)
    assert isinstance(events[-1], RetrieveFinished)
    assert events[-1].report.complete
    finished = [each.series_instance_uid for each in events if isinstance(each, SeriesFinished)]
    assert sorted(finished) == sorted({each.series_instance_uid for each in source.references()})


async def test_leaving_early_does_not_touch_what_follows(source: SimulatedSource) -> None:
    """Rule 1: after a break the caller's next await is its own, and the client still works."""
    async with AsyncRad69(source.url) as rad69:
        async with aclosing(rad69.instances(source.references())) as instances:
            async for _ in instances:
                break
        await anyio.lowlevel.checkpoint()
        with anyio.CancelScope() as scope:
            async with aclosing(rad69.instances(source.references())) as instances:
                async for _ in instances:
                    scope.cancel()
        assert scope.cancelled_caught
        assert len([each async for each in rad69.instances(source.references()[:5])]) == 5


async def test_a_client_that_is_not_open_says_so(source: SimulatedSource) -> None:
    """Before, after and twice: a RuntimeError that names the way."""
    rad69 = AsyncRad69(source.url)
    with pytest.raises(RuntimeError, match="async with AsyncRad69"):
        await rad69.get_dataset(source.references()[0])
    async with rad69:
        with pytest.raises(RuntimeError, match="open already"):
            await rad69.__aenter__()
    await rad69.aclose()
    with pytest.raises(RuntimeError, match="async with AsyncRad69"):
        await rad69.get_dataset(source.references()[0])
    assert repr(rad69).endswith("closed>")


async def test_a_client_that_was_closed_can_be_opened_again(source: SimulatedSource) -> None:
    """As if it were new: of the minute that the rate is about nothing is left over."""
    rad69 = AsyncRad69(source.url, max_requests_per_minute=1)
    for reference in source.references()[:2]:
        async with rad69:
            assert [each.reference async for each in rad69.instances(reference)] == [reference]


async def test_closing_the_client_ends_a_retrieve_with_an_error(source: SimulatedSource) -> None:
    """Rule 3: a retrieve whose client was closed never ends as if it were complete."""
    rad69 = AsyncRad69(source.url, concurrency=1)
    async with rad69:
        retrieval = rad69.retrieve(source.references())
        await anext(retrieval)
    with pytest.raises(RuntimeError, match="client was closed"):
        async for _ in retrieval:
            pass
    assert not retrieval.report.complete


# --- the rules of lifetime, each with its number in the architecture -----------------------------------


async def test_rule_2_no_groups_for_ordinary_failures() -> None:
    """Rule 2: many exchanges that fail at once are one error of ours in the caller's hands, not an ExceptionGroup."""
    wanted = [replace(UNKNOWN, sop_instance_uid=f"1.2.3.1.{number}") for number in range(8)]
    with ScriptedSource(lambda _: None) as source:
        async with AsyncRad69(source.url, concurrency=8, instances_per_request=1, retry=Retry(attempts=1)) as rad69:
            with pytest.raises(Rad69Error):
                async for _ in rad69.instances(wanted):
                    pass


async def test_rules_2_and_3_a_bug_is_raised(source: SimulatedSource, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that dies of a bug ends the iteration with it, never as if it were complete; no group is around it."""

    def broken(*args: object, **options: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Ledger, "deliver", broken)
    async with AsyncRad69(source.url) as rad69:
        with pytest.raises(ZeroDivisionError):
            async for _ in rad69.instances(source.references()):
                pass


async def test_rule_4_closing_ends_workers_that_wait_to_hand_over(source: SimulatedSource) -> None:
    """Rule 4: producers are cancelled before their stream is closed, so none dies of it; the client works on."""
    async with AsyncRad69(source.url, concurrency=8, instances_per_request=1) as rad69:
        for _ in range(5):
            async with rad69.retrieve(source.references()) as retrieval:
                await anext(retrieval)
                await anyio.wait_all_tasks_blocked()
            assert [row.state for row in retrieval.report.rows].count("delivered") == 1
        assert len([each async for each in rad69.instances(source.references()[:1])]) == 1


async def test_rule_5_cancellation_passes_through(source: SimulatedSource) -> None:
    """Rule 5: who cancels while waiting for an instance gets out as cancelled, not with an error of ours."""
    reached = False
    with ScriptedSource(lambda _: Scripted(headers=SOAP, length=10)) as silent:
        async with AsyncRad69(silent.url, retry=Retry(attempts=1)) as rad69:
            with anyio.CancelScope() as scope:
                scope.cancel()
                await rad69.get_dataset(UNKNOWN)
                reached = True
    assert scope.cancelled_caught
    assert not reached


async def test_rule_7_a_consumer_may_be_slower_than_its_scope_is_long(source: SimulatedSource) -> None:
    """Rule 7: no scope of ours is open while the caller has the instance: its own scopes nest as they like."""
    async with AsyncRad69(source.url, concurrency=1) as rad69:
        instances = rad69.instances(source.references()[:3])
        scopes = []
        async for _ in instances:
            with anyio.CancelScope() as scope:
                scope.cancel()
                await anyio.sleep_forever()
            scopes.append(scope.cancelled_caught)
    assert scopes == [True] * 3


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_rule_8_one_number_for_concurrency(concurrency: int) -> None:
    """Rule 8: as many requests are open at once as were allowed, never more, and none waits for a pool."""
    wanted = [replace(UNKNOWN, sop_instance_uid=f"1.2.3.1.{number}") for number in range(12)]
    arrived, lock, open_now, most = threading.Barrier(concurrency), threading.Lock(), 0, 0

    def script(asked: Asked) -> Scripted:
        nonlocal open_now, most
        with lock:
            open_now += 1
            most = max(most, open_now)
        arrived.wait(30)  # passes only when so many requests are here together
        with lock:
            open_now -= 1
        return Scripted(headers=SOAP, body=answer(relates_to=asked.message_id).encode())

    with ScriptedSource(script) as source:
        async with AsyncRad69(source.url, concurrency=concurrency, retry=Retry(attempts=1)) as rad69:
            retrieval = rad69.retrieve(wanted, instances_per_request=1, on_failure="report")
            assert [each async for each in retrieval] == []
    assert most == concurrency
    assert retrieval.report.requests == len(wanted)


async def test_rule_9_a_slow_consumer_trips_no_timeout(source: SimulatedSource) -> None:
    """Rule 9: the limits are on waits for the source; the caller's own time is not counted."""
    timeout = Timeout(idle_s=0.5, first_byte_s=5.0, total_s=5.0)
    wanted = source.references()[:3]
    async with AsyncRad69(source.url, concurrency=1, instances_per_request=0, timeout=timeout) as rad69:
        came = 0
        async for _ in rad69.instances(wanted):
            came += 1
            await anyio.sleep(0.6)
    assert came == len(wanted)


@pytest.mark.anyio
@pytest.mark.parametrize("after", [0, 1, 3])
async def test_stop_asking_finishes_what_is_in_flight(after: int) -> None:
    """No request goes out any more, what is under way comes whole, and the rest is missing without an error."""
    lost: list[Event] = []

    def watch(event: Event) -> None:
        if isinstance(event, InstanceFailed):
            lost.append(event)

    with SimulatedSource.demo(slices=1) as source:
        async with AsyncRad69(source.url, concurrency=1, on_failure="report", on_event=watch) as rad69:
            async with rad69.retrieve(source.references()) as retrieval:
                if not after:
                    retrieval.stop_asking()
                came = []
                async for instance in retrieval:
                    came.append(instance.reference.sop_instance_uid)
                    if len(came) == after:
                        retrieval.stop_asking()
            report = retrieval.report
        asked = [uid for request in source.requests for uid in request.sop_instance_uids]
    assert sorted(came) == sorted(asked)
    assert len(asked) < len(source.references())
    assert len(report.missing) == len(source.references()) - len(asked)
    assert not any(row.error for row in report.missing)
    assert not lost


async def test_all_threads_of_the_event_loop_may_wait_for_us(source: SimulatedSource, tmp_path: Path) -> None:
    """As a service's endpoints do that are not async, each with a download, which needs threads itself."""
    limiter = anyio.to_thread.current_default_thread_limiter()
    asked = source.references()[:1]
    async with AsyncRad69(source.url) as rad69:

        def endpoint(number: int) -> None:
            together.wait(10)
            report = anyio.from_thread.run(rad69.download, asked, tmp_path / str(number))
            complete.append(report.complete)

        complete: list[bool] = []
        together = threading.Barrier(int(limiter.total_tokens))
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                for number in range(int(limiter.total_tokens)):
                    tasks.start_soon(anyio.to_thread.run_sync, endpoint, number)
    assert complete == [True] * int(limiter.total_tokens)
