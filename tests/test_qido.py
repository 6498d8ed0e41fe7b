"""expand: the instances of a study from a DICOMweb archive, whatever the archive makes of pages."""

from __future__ import annotations

import gzip
import inspect
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from asyncrad69 import (
    AuthenticationError,
    ConnectionFailed,
    HTTPStatusRefused,
    InstanceReference,
    InvalidReferenceError,
    LimitExceeded,
    QidoError,
    ServerBusy,
    TransferTimeout,
    TransportError,
    _qido,
    expand,
    expand_blocking,
)
from dicomweb import DicomWebArchive, row

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio

ROOT = "https://archive.example/dicom-web"
STUDY, OTHER = "1.2.3", "1.2.9"
REFERENCES = tuple(
    InstanceReference(STUDY, f"{STUDY}.{series}", f"{STUDY}.{series}.{number}", repository_unique_id="1.9")
    for series in (1, 2)
    for number in range(1, 4)
)


def asked_page(request: httpx.Request) -> slice:
    offset = int(request.url.params["offset"])
    return slice(offset, offset + int(request.url.params["limit"]))


def pages(request: httpx.Request) -> list[dict[str, Any]]:
    return [row(each) for each in REFERENCES[asked_page(request)]]


def never_more_than_two(request: httpx.Request) -> list[dict[str, Any]]:
    return pages(request)[:2]


def no_pages(request: httpx.Request) -> list[dict[str, Any]]:
    return [row(each) for each in REFERENCES]


def overlapping(request: httpx.Request) -> list[dict[str, Any]]:
    page = asked_page(request)
    return [row(each) for each in REFERENCES[max(0, page.start - 1) : page.stop]]


def without_what_the_path_says(request: httpx.Request) -> list[dict[str, Any]]:
    return [{tag: value for tag, value in each.items() if tag != "0020000D"} for each in pages(request)]


def json_reply(rows: object, status: int = 200, media_type: str = "application/dicom+json") -> httpx.Response:
    return httpx.Response(status, content=json.dumps(rows).encode(), headers={"Content-Type": media_type})


class Stream(httpx.AsyncByteStream):
    """A body as the network gives it: httpx has not read it yet."""

    def __init__(self, content: bytes) -> None:
        self._blocks = iter((content,))

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> bytes:
        try:
            return next(self._blocks)
        except StopIteration:
            raise StopAsyncIteration from None


def archive(handler: Callable[[httpx.Request], httpx.Response]) -> httpx.AsyncClient:
    """A client whose archive answers as *handler* does."""

    def streamed(request: httpx.Request) -> httpx.Response:
        reply = handler(request)
        assert isinstance(reply.stream, httpx.ByteStream)
        return httpx.Response(reply.status_code, headers=reply.headers, stream=Stream(b"".join(reply.stream)))

    return httpx.AsyncClient(transport=httpx.MockTransport(streamed))


async def expanded(reply: httpx.Response | Exception, **options: Any) -> tuple[InstanceReference, ...]:
    """What comes of an archive that answers everything with *reply*."""

    def handler(request: httpx.Request) -> httpx.Response:
        if isinstance(reply, Exception):
            raise reply
        return reply

    async with archive(handler) as client:
        return await expand(STUDY, qido_url=ROOT, http_client=client, **options)


@pytest.mark.parametrize("behaviour", [pages, never_more_than_two, no_pages, overlapping, without_what_the_path_says])
@pytest.mark.parametrize("page_size", [1, 4, 6, 1000])
@pytest.mark.parametrize("end", [204, 200])
async def test_every_instance_once(
    behaviour: Callable[[httpx.Request], list[dict[str, Any]]], page_size: int, end: int
) -> None:
    """All instances, in the archive's order, each once, and the asking ends."""

    def handler(request: httpx.Request) -> httpx.Response:
        rows = behaviour(request)
        return json_reply(rows) if rows or end == 200 else httpx.Response(end)

    async with archive(handler) as client:
        found = await expand(STUDY, qido_url=ROOT, repository_unique_id="1.9", page_size=page_size, http_client=client)
    assert found == REFERENCES


@pytest.mark.parametrize(
    ("series_uid", "path"),
    [(None, "/studies/1.2.3/instances"), ("1.2.3.1", "/studies/1.2.3/series/1.2.3.1/instances")],
)
@pytest.mark.parametrize("root", [ROOT, f"{ROOT}/"])
async def test_what_is_asked(series_uid: str | None, path: str, root: str) -> None:
    """PS3.18 table 10.6.1-2: the resource, the attribute that is needed, JSON, and one page."""
    requests: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(204)

    async with archive(handler) as client:
        assert await expand(STUDY, series_uid=series_uid, qido_url=root, page_size=7, http_client=client) == ()
    (request,) = requests
    assert (request.method, request.url.path) == ("GET", f"/dicom-web{path}")
    assert dict(request.url.params) == {"limit": "7", "offset": "0", "includefield": "0020000E"}
    assert request.headers["accept"] == "application/dicom+json"


async def test_a_series_alone() -> None:
    """A series' instances may come without the UIDs that the path has."""
    rows = [{"00080018": {"vr": "UI", "Value": [each.sop_instance_uid]}} for each in REFERENCES[:3]]
    found = await expanded(json_reply(rows), series_uid=f"{STUDY}.1", repository_unique_id="1.9")
    assert found == REFERENCES[:3]


@pytest.mark.parametrize("content", [b"[]", b"", b" \n"])
async def test_nothing_is_nothing(content: bytes) -> None:
    """An archive that knows no such study has no instances of it."""
    assert await expanded(httpx.Response(200, content=content)) == ()


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, AuthenticationError),
        (403, AuthenticationError),
        (404, HTTPStatusRefused),
        (302, HTTPStatusRefused),
        (400, HTTPStatusRefused),
        (500, HTTPStatusRefused),
        (503, ServerBusy),
    ],
)
async def test_statuses(status: int, error: type[HTTPStatusRefused]) -> None:
    """A status that is no answer is an error with its number, whatever comes with it."""
    with pytest.raises(error) as caught:
        await expanded(json_reply([], status))
    assert caught.value.http_status == status
    assert "RAD-69" not in str(caught.value)


BROKEN: dict[str, httpx.Response] = {
    "a login page": httpx.Response(200, html="<html>secret</html>"),
    "DICOM XML": httpx.Response(200, content=b"<x/>", headers={"Content-Type": "application/dicom+xml"}),
    "cut": httpx.Response(200, content=b'[{"00080018": {"vr": "UI", "Val'),
    "not UTF-8": httpx.Response(200, content=b'["\xff\xfe"]'),
    "too deep": httpx.Response(200, content=b"[" * 100_000),
    "an object": json_reply({"message": "secret"}),
    "a row that is none": json_reply(["secret"]),
    "no SOP Instance UID": json_reply([row(REFERENCES[0]) | {"00080018": {"vr": "UI"}}]),
    "no series": json_reply([row(REFERENCES[0]) | {"0020000E": {"vr": "UI", "Value": []}}]),
    "a null": json_reply([row(REFERENCES[0]) | {"00080018": {"vr": "UI", "Value": [None]}}]),
    "not a UID": json_reply([row(REFERENCES[0]) | {"00080018": {"vr": "UI", "Value": ["secret"]}}]),
    "in two series": json_reply(
        [row(REFERENCES[0]), row(InstanceReference(STUDY, f"{STUDY}.7", REFERENCES[0].sop_instance_uid))]
    ),
    "another study": json_reply([row(InstanceReference(OTHER, "1.2.9.1", "1.2.9.1.1"))]),
}


@pytest.mark.parametrize("reply", BROKEN.values(), ids=BROKEN.keys())
async def test_broken_answers(reply: httpx.Response) -> None:
    """An answer that cannot be read is an error that quotes nothing of it: no instance is passed over in silence."""
    with pytest.raises(QidoError) as caught:
        await expanded(reply)
    assert "secret" not in str(caught.value)


async def test_another_series() -> None:
    """An archive that ignores the series in the path is found out."""
    with pytest.raises(QidoError, match="another study or series"):
        await expanded(json_reply([row(each) for each in REFERENCES]), series_uid=f"{STUDY}.1")


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        (httpx.ConnectError("refused"), ConnectionFailed),
        (httpx.ReadTimeout("slow"), TransferTimeout),
        (httpx.RemoteProtocolError("broken"), TransportError),
    ],
)
async def test_the_network(raised: Exception, error: type[TransportError]) -> None:
    """Errors of httpx are ours."""
    with pytest.raises(error):
        await expanded(raised)


async def test_compressed() -> None:
    """A proxy that compresses unasked is read."""

    def handler(request: httpx.Request) -> httpx.Response:
        content = gzip.compress(json.dumps(pages(request)).encode())
        return httpx.Response(200, content=content, headers={"Content-Encoding": "gzip"})

    async with archive(handler) as client:
        assert len(await expand(STUDY, qido_url=ROOT, http_client=client)) == len(REFERENCES)


async def test_a_page_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive cannot fill memory."""
    monkeypatch.setattr(_qido, "_MAX_PAGE", 100)
    with pytest.raises(LimitExceeded, match="page_size"):
        await expanded(json_reply([row(each) for each in REFERENCES]))


@pytest.mark.parametrize(
    "wrong",
    [
        {"study_uid": "1.2."},
        {"study_uid": "../1"},
        {"series_uid": "1/2"},
        {"repository_unique_id": "urn:oid:1.2"},
        {"page_size": 0},
        {"qido_url": f"{ROOT}?limit=1"},
        {"qido_url": "archive.example"},
        {"qido_url": "http://archive.example", "auth": ("a", "b"), "http_client": None},
    ],
)
async def test_wrong_arguments(wrong: dict[str, Any]) -> None:
    """What is malformed is said before anything is sent."""

    def handler(request: httpx.Request) -> httpx.Response:
        raise AssertionError

    async with archive(handler) as client:
        with pytest.raises(ValueError, match=r"_uid|_id|url|page_size|credentials") as caught:
            await expand(**{"study_uid": STUDY, "qido_url": ROOT, "http_client": client, **wrong})
    assert isinstance(caught.value, InvalidReferenceError) or {"page_size", "qido_url"} & wrong.keys()


def test_without_await() -> None:
    """The same for code that does not await."""
    client = archive(lambda request: json_reply(pages(request)))
    assert expand_blocking(STUDY, qido_url=ROOT, repository_unique_id="1.9", http_client=client) == REFERENCES


def test_the_blocking_one_is_the_same() -> None:
    """Same names, same defaults."""
    parameters = inspect.signature(expand).parameters
    assert inspect.signature(expand_blocking).parameters == parameters


@pytest.mark.parametrize("page_size", [1, 1000])
async def test_over_a_connection_of_its_own(page_size: int) -> None:
    """Without an http_client, what RAD-69 is spoken over speaks QIDO-RS: credentials and headers go along."""
    with DicomWebArchive(REFERENCES) as dicomweb:
        found = await expand(
            STUDY,
            qido_url=dicomweb.url,
            repository_unique_id="1.9",
            page_size=page_size,
            auth=("me", "secret"),
            headers={"X-Site": "7"},
        )
    assert found == REFERENCES
    assert all(each["authorization"].startswith("Basic ") and each["x-site"] == "7" for each in dicomweb.headers)
