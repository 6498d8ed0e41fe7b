"""A lent client, of httpx or of a library with the same interface, does what our own does, by its own settings."""

from __future__ import annotations

import gc
import http.cookies
import threading
import warnings
from dataclasses import replace
from typing import Any

import httpx
import httpx2
import pytest

from asyncrad69 import (
    AsyncRad69,
    ConnectionFailed,
    ConnectionLost,
    Event,
    RetrieveFinished,
    Timeout,
    TransferTimeout,
    TransportError,
    XDSMissingDocumentError,
    expand,
)
from asyncrad69.testing import SimulatedSource
from replies import answer, error as registry_error
from source import Asked, Scripted, ScriptedSource, no
from test_endpoint import REFERENCE, failure
from test_security_header import security

pytestmark = pytest.mark.anyio


# Both have the same names; only one of them is known to mypy as what it is.
@pytest.fixture(params=[httpx, httpx2], ids=["httpx", "httpx2"])
def library(request: pytest.FixtureRequest) -> Any:
    """The library that the lent client is of."""
    return request.param


async def test_every_instance_arrives(library: Any) -> None:
    """A study comes whole, from a source that wants to know who asks, to whoever says so in the library's terms."""
    with SimulatedSource.demo(slices=3, auth=("me", "pw")) as source:
        asked = source.references()
        async with library.AsyncClient(auth=library.BasicAuth("me", "pw")) as lent:
            for auth in (None, ("me", "pw"), library.BasicAuth("me", "pw")):
                async with AsyncRad69(source.url, http_client=lent, auth=auth) as rad69:
                    came = [str(dataset.SOPInstanceUID) async for dataset in rad69.datasets(asked)]
                assert sorted(came) == sorted(reference.sop_instance_uid for reference in asked)


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_no_generator_is_left_to_the_collector(library: Any) -> None:
    """Of a reply that was read to its end; trio would warn of each."""
    with SimulatedSource.demo(slices=3) as source, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        async with library.AsyncClient() as lent, AsyncRad69(source.url, http_client=lent) as rad69:
            async for _ in rad69.instances(source.references()):
                pass
        gc.collect()
    assert [str(each.message) for each in warned if issubclass(each.category, ResourceWarning)] == []


async def test_a_token_goes_before_the_client_s_own_credentials(library: Any) -> None:
    """One Authorization header is sent, the bearer token's, whatever else there is."""
    with ScriptedSource(no) as source:
        async with library.AsyncClient(auth=("me", "pw")) as lent:
            options: dict[str, Any] = {"auth": lambda: "a.token", "headers": {"authorization": "mine"}}
            assert isinstance(await failure(source.url, http_client=lent, **options), XDSMissingDocumentError)
    names = [line.partition(":")[0].lower() for line in source.requests[0].head.split("\r\n")]
    assert names.count("authorization") == 1
    assert source.requests[0].header("Authorization") == "Bearer a.token"


async def test_a_login_leaves_its_cookie(library: Any) -> None:
    """The login is given the lent client, and what it gets there goes with the request."""

    def script(asked: Asked) -> Scripted:
        if asked.head.startswith("POST /login"):
            return Scripted(headers=("Set-Cookie: session=7", "Content-Length: 0"))
        cookies = http.cookies.SimpleCookie(asked.header("Cookie"))
        return no(asked) if "session" in cookies else Scripted(status="401 Unauthorized")

    with ScriptedSource(script) as source:

        async def login(http: Any) -> None:
            (await http.post(source.url.replace("/rad69", "/login"))).raise_for_status()

        async with library.AsyncClient() as lent:
            assert isinstance(await failure(source.url, http_client=lent, login=login), XDSMissingDocumentError)


async def test_a_query_goes_through_it(library: Any) -> None:
    """QIDO-RS, too; its answer is read whole."""
    uids = {"0020000D": "1", "0020000E": "2", "00080018": "3"}
    rows = [{tag: {"vr": "UI", "Value": [uid]} for tag, uid in uids.items()}]

    def reply(request: Any) -> Any:
        first = request.url.params["offset"] == "0"
        return library.Response(200, json=rows if first else [], headers={"Content-Type": "application/dicom+json"})

    async with library.AsyncClient(transport=library.MockTransport(reply)) as lent:
        (found,) = await expand("1", qido_url="http://archive.example/dicom-web", http_client=lent)
    assert found.sop_instance_uid == "3"


async def test_nobody_listens(library: Any) -> None:
    """Our error, the library's as its cause, and nothing of what was asked, or by whom, in that."""
    with ScriptedSource(no) as closed:
        url = closed.url
    async with library.AsyncClient() as lent:
        error = await failure(url, http_client=lent, security_header=security())
    assert isinstance(error, ConnectionFailed)
    assert isinstance(error.__cause__, library.ConnectError)
    assert not error.__cause__.request.content
    assert set(error.__cause__.request.headers) <= {"host", "content-length"}


async def test_nobody_answers(library: Any) -> None:
    """Our limits hold, whatever those of the client are."""
    done = threading.Event()

    def silent(_: Asked) -> None:
        done.wait(10)

    with ScriptedSource(silent) as source:
        async with library.AsyncClient(timeout=60) as lent:
            error = await failure(source.url, http_client=lent, timeout=Timeout(first_byte_s=0.1))
        done.set()
    assert isinstance(error, TransferTimeout)
    assert error.phase == "first byte"


async def test_a_reply_is_cut(library: Any) -> None:
    """The connection ends before the reply does."""
    with ScriptedSource(lambda asked: replace(no(asked), length=100_000)) as source:
        async with library.AsyncClient() as lent:
            error = await failure(source.url, http_client=lent)
    assert isinstance(error, ConnectionLost)


async def test_a_borrowed_client_is_neither_closed_nor_changed(library: Any) -> None:
    """It sends the requests with its own settings, follows no redirect for us, and stays as it was."""
    with ScriptedSource(no) as source:
        async with library.AsyncClient(headers={"X-Mine": "1"}, follow_redirects=True) as lent:
            before = (dict(lent.headers), lent.timeout, lent.auth, lent.follow_redirects)
            assert isinstance(await failure(source.url, http_client=lent), XDSMissingDocumentError)
            assert not lent.is_closed
            assert (dict(lent.headers), lent.timeout, lent.auth, lent.follow_redirects) == before
    assert source.requests[0].header("X-Mine") == "1"


async def test_a_borrowed_client_s_event_hooks_see_each_exchange(library: Any) -> None:
    """They are called once for each request and each reply; a header that one adds is sent."""
    seen: list[object] = []

    async def asked(request: Any) -> None:
        request.headers["X-Trace"] = "7"
        seen.append(request.method)

    async def answered(response: Any) -> None:
        seen.append(response.status_code)

    with ScriptedSource(no) as source:
        async with library.AsyncClient(event_hooks={"request": [asked], "response": [answered]}) as lent:
            assert isinstance(await failure(source.url, http_client=lent), XDSMissingDocumentError)
    assert seen == ["POST", 200]
    assert source.requests[0].header("X-Trace") == "7"


async def test_an_event_hook_may_read_the_reply(library: Any) -> None:
    """What it read is read; one that takes the bytes and keeps none is the caller's mistake, said in words."""

    async def reads(response: Any) -> None:
        await response.aread()

    async def takes(response: Any) -> None:
        async for _ in response.aiter_raw():
            pass

    with ScriptedSource(no) as source:
        async with library.AsyncClient(event_hooks={"response": [reads]}) as lent:
            assert isinstance(await failure(source.url, http_client=lent), XDSMissingDocumentError)
        async with (
            library.AsyncClient(event_hooks={"response": [takes]}) as lent,
            AsyncRad69(source.url, http_client=lent) as rad69,
        ):
            with pytest.raises(RuntimeError, match="event hook of the http_client has taken the reply's body"):
                await rad69.get_dataset(REFERENCE)


async def test_what_the_caller_s_own_auth_raises(library: Any) -> None:
    """It comes through as it is, and the last event is the report all the same."""

    class Broken(library.Auth):  # type: ignore[misc]
        def auth_flow(self, request: Any) -> Any:
            raise ZeroDivisionError
            yield request

    events: list[Event] = []
    async with (
        library.AsyncClient() as lent,
        AsyncRad69("https://source.invalid/", http_client=lent, auth=Broken(), on_event=events.append) as rad69,
    ):
        with pytest.raises(ZeroDivisionError):
            await rad69.get_dataset(REFERENCE)
    assert isinstance(events[-1], RetrieveFinished)


async def test_an_answer_that_is_made_up(library: Any) -> None:
    """As in tests without a socket: a response that was never a stream."""
    errors = [registry_error("XDSMissingDocument", location=REFERENCE.sop_instance_uid)]

    def reply(_: Any) -> Any:
        body = answer(errors=errors, relates_to=None)
        return library.Response(200, headers={"Content-Type": "application/soap+xml"}, content=body)

    async with library.AsyncClient(transport=library.MockTransport(reply)) as lent:
        assert isinstance(await failure("http://source.invalid/", http_client=lent), XDSMissingDocumentError)


async def test_an_event_hook_that_refuses_is_heard(library: Any) -> None:
    """What a hook raises is an error of the exchange where it is httpx's, e.g. raise_for_status."""

    async def strict(response: Any) -> None:
        response.raise_for_status()

    with ScriptedSource(lambda _: Scripted(status="500 Oops")) as source:
        async with library.AsyncClient(event_hooks={"response": [strict]}) as lent:
            error = await failure(source.url, http_client=lent)
    assert isinstance(error, TransportError)
    assert "HTTPStatusError" in str(error)


async def test_a_client_that_is_instrumented(library: Any) -> None:
    """What is put around its methods need not be a coroutine function."""
    with ScriptedSource(no) as source:
        async with library.AsyncClient() as lent:
            send = lent.send

            def wrapped(*args: Any, **options: Any) -> Any:
                return send(*args, **options)

            lent.send = wrapped
            assert isinstance(await failure(source.url, http_client=lent), XDSMissingDocumentError)


@pytest.mark.parametrize("wrong", [httpx.Client, httpx2.Client, object], ids=["httpx", "httpx2", "neither"])
def test_a_client_that_blocks_is_refused(wrong: type) -> None:
    """Said before anything is sent."""
    with pytest.raises(TypeError, match=f"an httpx.AsyncClient; not a {wrong.__name__}"):
        AsyncRad69("https://source.example/", http_client=wrong())


def test_credentials_of_another_library_are_refused() -> None:
    """The client would not know them for what they are."""
    ours: Any = httpx.DigestAuth("me", "pw")
    theirs: Any = httpx2.DigestAuth("me", "pw")
    url = "https://source.example/"
    with pytest.raises(TypeError, match=r"auth is an httpx2.Auth, as its client is; not one of httpx$"):
        AsyncRad69(url, http_client=httpx2.AsyncClient(), auth=ours)
    with pytest.raises(TypeError, match=r"auth is an httpx.Auth, as its client is; not one of httpx2$"):
        AsyncRad69(url, auth=theirs)
    AsyncRad69(url, http_client=httpx2.AsyncClient(), auth=theirs)
