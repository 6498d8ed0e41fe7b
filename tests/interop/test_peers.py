"""Metro (JAX-WS) and gSOAP: everything arrives as it is stored, and every refusal has its class."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from asyncrad69 import (
    LOSSLESS,
    AsyncRad69,
    HTTPStatusRefused,
    IncompleteRetrieveError,
    InstanceReference,
    InstanceVerified,
    InvalidInstanceError,
    Rad69,
    RequestFinished,
    RequestStarted,
    RetrieveFinished,
    Retry,
    TransferSyntaxRefused,
    TransportError,
    TruncatedResponse,
    XDSMissingDocumentError,
)

from .peers import REPOSITORY, running

if TYPE_CHECKING:
    from asyncrad69 import Event

    from .peers import Archive, Peer

pytestmark = pytest.mark.anyio

QUICK = Retry(wait_initial_s=0.01, wait_max_s=0.1)
OPTIONS = [{}, {"instances_per_request": 1}, {"instances_per_request": 0}, {"concurrency": 1}]
UNKNOWN = InstanceReference("1.2.9", "1.2.9.1", "1.2.9.1.1", repository_unique_id=REPOSITORY)


async def retrieved(url: str, archive: Archive, **options: object) -> None:
    """Fail unless all of *archive* arrives, byte for byte."""
    async with AsyncRad69(url) as rad69, rad69.retrieve(archive.references, **options) as got:  # type: ignore[arg-type]
        async for instance in got:
            archive.verify(instance.reference.sop_instance_uid, instance.data)
    assert got.report.complete
    assert len(got.report.delivered) == len(archive.references)


@pytest.mark.parametrize("path", ["/rad69", "/rad69-wsa-required", "/rad69-inline"])
@pytest.mark.parametrize(
    "options", [{}, {"instances_per_request": 1}, {"instances_per_request": 0}, {"concurrency": 1}]
)
async def test_all_of_it_from_jaxws(jaxws: Peer, tiny: Archive, path: str, options: dict[str, int]) -> None:
    """MTOM and base64 in the XML, addressing required or not, whatever the size of a request."""
    await retrieved(jaxws.url(path), tiny, **options)


@pytest.mark.parametrize(
    "options", [{}, {"instances_per_request": 1}, {"instances_per_request": 0}, {"concurrency": 1}]
)
async def test_all_of_it_from_gsoap(gsoap: Peer, tiny: Archive, options: dict[str, int]) -> None:
    """Chunked, by Content-Length, and with the connection closed afterwards."""
    await retrieved(gsoap.url(), tiny, **options)


async def test_simple_soap(jaxws: Peer, gsoap: Peer, tiny: Archive) -> None:
    """Both take a request that is not packaged."""
    await retrieved(jaxws.url(), tiny, packaging="simple")
    await retrieved(gsoap.url(), tiny, packaging="simple")


@pytest.mark.parametrize("name", ["jaxws", "gsoap"])
async def test_a_large_study(name: str, study: Archive) -> None:
    """126 MB in 240 instances of six series."""
    with running(name, study) as peer:
        await retrieved(peer.url(), study)


@pytest.mark.parametrize("name", ["jaxws", "gsoap"])
async def test_every_transfer_syntax(name: str, samples: Archive) -> None:
    """Files in eleven transfer syntaxes come as they are stored, those that are odd too if we say that we take them."""
    with running(name, samples, RAD69_ANY_TS="1") as peer:
        await retrieved(peer.url(), samples, identity="instance", invalid_instances="deliver")


def test_the_sync_twin(jaxws: Peer, tiny: Archive, tmp_path: Path) -> None:
    """Datasets and files without await."""
    with Rad69(jaxws.url()) as rad69:
        uids = {str(dataset.SOPInstanceUID) for dataset in rad69.datasets(tiny.references)}
        report = rad69.download(tiny.references, tmp_path)
    assert uids == set(tiny.sha256)
    for row in report.rows:
        tiny.verify(row.reference.sop_instance_uid, Path(row.path or "").read_bytes())


@pytest.mark.parametrize("name", ["jaxws", "gsoap"])
async def test_what_the_source_does_not_have(
    name: str, tiny: Archive, request: pytest.FixtureRequest, jaxws: Peer, gsoap: Peer
) -> None:
    """PartialSuccess: the rest is delivered, and the unknown instance is refused with the source's own code."""
    peer = {"jaxws": jaxws, "gsoap": gsoap}[name]
    async with AsyncRad69(peer.url(), instances_per_request=0, retry=QUICK) as rad69:
        with pytest.raises(IncompleteRetrieveError) as caught:
            async for _ in rad69.instances([*tiny.references, UNKNOWN]):
                pass
        report = caught.value.report
        assert len(report.delivered) == len(tiny.references)
        assert [(row.reference, type(row.error)) for row in report.refused] == [(UNKNOWN, XDSMissingDocumentError)]
        assert report.requests == 1
        with pytest.raises(XDSMissingDocumentError):
            await rad69.get_dataset(UNKNOWN)


async def test_a_transfer_syntax_it_does_not_have(samples: Archive) -> None:
    """What is stored in another transfer syntax than asked for is refused, not transcoded."""
    with running("gsoap", samples) as peer:
        rad69 = AsyncRad69(peer.url(), identity="instance", transfer_syntaxes=LOSSLESS, retry=QUICK)
        async with rad69, rad69.retrieve(samples.references, on_failure="report") as got:
            async for instance in got:
                assert instance.transfer_syntax_uid in LOSSLESS
    assert {type(row.error) for row in got.report.refused} == {TransferSyntaxRefused}


@pytest.mark.parametrize("name", ["jaxws", "gsoap"])
async def test_a_document_that_breaks_off(name: str, tiny: Archive) -> None:
    """The source fails in the middle of one: it alone is missing, all others arrive, and nothing is asked in vain."""
    broken = tiny.references[1]
    with running(name, tiny, RAD69_BREAK_UID=broken.sop_instance_uid) as peer:
        rad69 = AsyncRad69(peer.url(), retry=QUICK)
        async with rad69, rad69.retrieve(tiny.references, on_failure="report") as got:
            async for instance in got:
                tiny.verify(instance.reference.sop_instance_uid, instance.data)
    (row,) = got.report.missing
    assert row.reference == broken
    assert isinstance(row.error, TruncatedResponse | InvalidInstanceError | TransportError)
    assert 2 <= row.attempts <= 10
    assert all(row.attempts <= 4 for row in got.report.delivered)


async def test_a_path_that_is_not_there(jaxws: Peer, tiny: Archive) -> None:
    """The wrong path is said to be wrong, and nothing is tried again."""
    async with AsyncRad69(jaxws.url("/nothing"), retry=QUICK) as rad69:
        with pytest.raises(HTTPStatusRefused, match="Check the path of the URL") as caught:
            await rad69.get_dataset(tiny.references[0])
    assert caught.value.http_status == 404


async def test_a_source_that_dies_and_comes_back(study: Archive) -> None:
    """Killed in the middle: every instance is in one column. Back again: what was missing, and only that, arrives."""
    with running("gsoap", study) as peer:
        rad69 = AsyncRad69(peer.url(), retry=QUICK)
        async with rad69, rad69.retrieve(study.references, on_failure="report") as got:
            came = 0
            async for _ in got:
                came += 1
                if came == 50:
                    peer.kill()
    report = got.report
    assert 50 <= len(report.delivered) < len(study.references)
    assert len(report.delivered) + len(report.missing) == len(study.references)
    with running("gsoap", study) as peer:
        async with AsyncRad69(peer.url()) as rad69:
            left = [row.reference for row in report.missing]
            assert {each.reference async for each in rad69.instances(left)} == set(left)


async def test_events_agree_with_the_report(jaxws: Peer, tiny: Archive) -> None:
    """Whoever listens learns of each request, each instance, and the end, once."""
    events: list[Event] = []
    async with AsyncRad69(jaxws.url(), on_event=events.append) as rad69, rad69.retrieve(tiny.references) as got:
        async for _ in got:
            pass
    counts = Counter(type(event) for event in events)
    assert counts[RequestStarted] == counts[RequestFinished] == got.report.requests
    assert {event.reference for event in events if isinstance(event, InstanceVerified)} == set(tiny.references)
    assert counts[InstanceVerified] == len(tiny.references)
    assert isinstance(events[-1], RetrieveFinished)
    assert events[-1].report == got.report
