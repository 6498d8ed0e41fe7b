"""Who we are: tokens, logins and security headers are fetched once for all, again when refused, and never told."""

from __future__ import annotations

import itertools
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import anyio.lowlevel
import httpx
import pytest

from asyncrad69 import (
    AsyncRad69,
    AuthenticationError,
    CredentialsError,
    HTTPStatusRefused,
    InstanceReference,
    NotARad69Response,
    Rad69,
    Rad69Error,
    Report,
    Retry,
    SoapFault,
    XDSMissingDocumentError,
    expand,
)
from replies import fault_12
from source import SOAP, Asked, Scripted, ScriptedSource, no
from test_security_header import conditions, security

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio

SERIES = [InstanceReference("1.2.3", "1.2.3.1", f"1.2.3.1.{n}", repository_unique_id="1.9") for n in range(1, 9)]
UNAUTHORIZED = Scripted(status="401 Unauthorized")
LOGIN_PAGE = Scripted(headers=("Content-Type: text/html",), body=b"<html>secret</html>")
TO_LOGIN = Scripted(status="302 Found", headers=("Location: /login",))


def fault(subcode: str) -> Scripted:
    """A SOAP fault of WS-Security."""
    return Scripted(status="500 Error", headers=SOAP, body=fault_12("Sender", subcode=subcode).encode())


async def ask(url: str, references: list[InstanceReference] = SERIES[:1], **options: Any) -> Report:
    """Ask, and give the report; raises what ends the retrieve as a whole."""
    defaults: dict[str, Any] = {"retry": Retry(attempts=1), "instances_per_request": 1, "on_failure": "report"}
    async with AsyncRad69(url, **(defaults | options)) as rad69, rad69.retrieve(references) as retrieval:
        async for _ in retrieval:
            pass
    return retrieval.report


def refused(report: Report) -> int:
    """How many instances got a well-formed answer."""
    return sum(isinstance(row.error, XDSMissingDocumentError) for row in report.rows)


# --- a bearer token ------------------------------------------------------------------------------------


class Tokens:
    """Gives token-1, token-2, ... and counts how many calls run at once."""

    def __init__(self) -> None:
        self.given: list[str] = []

    async def __call__(self) -> str:
        number = len(self.given) + 1
        self.given.append(f"token-{number}")
        await anyio.lowlevel.checkpoint()  # others may come in between
        return f"token-{number}"


@pytest.mark.parametrize("concurrency", [1, 8])
async def test_one_refresh_for_all_tasks(concurrency: int) -> None:
    """When the token expires, every task gets a 401 and all of them together one new token, and one attempt more."""
    together = threading.Barrier(concurrency)

    def script(asked: Asked) -> Scripted:
        if asked.header("Authorization") == "Bearer token-2":
            return no(asked)
        together.wait(10)  # nobody is told before all have asked with the old one
        return UNAUTHORIZED

    tokens = Tokens()
    with ScriptedSource(script) as source:
        report = await ask(source.url, SERIES, auth=tokens, concurrency=concurrency)
    assert refused(report) == len(SERIES)
    assert tokens.given == ["token-1", "token-2"]
    assert len(source.requests) == len(SERIES) + concurrency
    ids = [asked.message_id for asked in source.requests]
    assert len(set(ids)) == len(ids), "a MessageID was used twice"


async def test_a_late_refusal_of_an_old_token_takes_the_new_one() -> None:
    """A task whose 401 comes after another has refreshed does not refresh again."""
    refreshed = threading.Event()
    calls = itertools.count()

    def script(asked: Asked) -> Scripted:
        if asked.header("Authorization") == "Bearer token-2":
            refreshed.set()
            return no(asked)
        if next(calls):  # the second to come waits until the first has been through with a new token
            assert refreshed.wait(10)
        return UNAUTHORIZED

    tokens = Tokens()
    with ScriptedSource(script) as source:
        report = await ask(source.url, SERIES[:2], auth=tokens, concurrency=2)
    assert refused(report) == 2
    assert tokens.given == ["token-1", "token-2"]


async def test_still_refused() -> None:
    """A new token that is refused, too, ends it: two requests, and AuthenticationError."""
    with ScriptedSource(lambda _: UNAUTHORIZED) as source, pytest.raises(AuthenticationError):
        await ask(source.url, auth=Tokens())
    assert [asked.header("Authorization") for asked in source.requests] == ["Bearer token-1", "Bearer token-2"]


async def test_a_function_that_does_not_await_runs_in_a_thread() -> None:
    """It may block; and httpx's own kind of function, which takes the request, is still that."""
    threads: list[str] = []

    def token() -> str:
        threads.append(threading.current_thread().name)
        return "abc"

    def sign(request: httpx.Request) -> httpx.Request:
        request.headers["X-Signed"] = "1"
        return request

    with ScriptedSource(no) as source:
        await ask(source.url, auth=token)
        await ask(source.url, auth=sign)
    assert source.requests[0].header("Authorization") == "Bearer abc"
    assert source.requests[1].header("X-Signed") == "1"
    assert threads != [threading.current_thread().name]


async def test_forbidden_is_not_a_reason_to_refresh() -> None:
    """403 says that we are known: a new token would say the same."""
    tokens = Tokens()
    with ScriptedSource(lambda _: Scripted(status="403 Forbidden")) as source, pytest.raises(AuthenticationError):
        await ask(source.url, auth=tokens)
    assert tokens.given == ["token-1"]


async def test_the_archive_is_shown_the_token_too() -> None:
    """`expand` takes the same functions, and refreshes a token as a retrieve does."""
    tokens = Tokens()

    def script(asked: Asked) -> Scripted:
        known = asked.header("Authorization") == "Bearer token-2"
        return Scripted(status="204 No Content") if known else UNAUTHORIZED

    with ScriptedSource(script) as archive:
        assert await expand("1.2.3", qido_url=archive.url, auth=tokens) == ()
    assert tokens.given == ["token-1", "token-2"]


# --- what a function of the caller's may do wrong ------------------------------------------------------


def _raise() -> str:
    raise LookupError("secret")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"auth": lambda: "Bearer secret"}, "no bearer token"),
        ({"auth": lambda: None}, "no bearer token"),
        ({"auth": lambda: "secret\r\nX: y"}, "no bearer token"),
        ({"auth": _raise}, "given as auth= failed: LookupError"),
        ({"security_header": _raise}, "given as security_header= failed: LookupError"),
        ({"security_header": lambda: "<secret/>"}, "not a wsse:Security element"),
        ({"security_header": lambda: 1}, "bytes or str"),
        ({"login": lambda _: _raise()}, "given as login= failed: LookupError"),
    ],
)
async def test_what_cannot_be_had(options: dict[str, Any], message: str) -> None:
    """It is CredentialsError, with nothing of it in the message, and nothing is sent."""
    with ScriptedSource(no) as source:
        with pytest.raises(CredentialsError, match=message) as caught:
            await ask(source.url, **options)
        assert source.requests == []
    assert "secret" not in str(caught.value)


async def test_a_failure_is_not_repeated_by_every_task() -> None:
    """What one task could not get ends the retrieve: the others, which waited for it, do not try in turn."""
    calls = itertools.count()

    async def token() -> str:
        next(calls)
        await anyio.lowlevel.checkpoint()
        raise LookupError

    with ScriptedSource(no) as source, pytest.raises(CredentialsError):
        await ask(source.url, SERIES, auth=token, concurrency=8)
    assert next(calls) == 1


async def test_an_error_of_ours_comes_as_it_is() -> None:
    """A function may say what it means."""

    async def token() -> str:
        raise CredentialsError("the token server is closed on Sundays")

    with ScriptedSource(no) as source, pytest.raises(CredentialsError, match="Sundays"):
        await ask(source.url, auth=token)


async def _takes_one(_: object) -> str:
    return ""


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"auth": _takes_one}, TypeError, "takes nothing"),
        ({"login": "secret"}, TypeError, "login is a function"),
        ({"login": lambda _: None, "http_client": httpx.AsyncClient()}, ValueError, "async def"),
        ({"security_header": "<secret/>"}, ValueError, "not a wsse:Security element"),
        ({"cert": "x", "http_client": httpx.AsyncClient()}, ValueError, "http_client's own"),
    ],
)
def test_options_are_checked(options: dict[str, Any], error: type[Exception], message: str) -> None:
    """What would fail later is refused when the client is made."""
    with pytest.raises(error, match=message) as caught:
        AsyncRad69("https://source.example/", **options)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("options", [{"auth": Tokens()}, {"login": _takes_one}, {"security_header": security()}])
def test_nothing_goes_out_in_plain_text(options: dict[str, Any]) -> None:
    """A token, a login and a security header need TLS, loopback, or a word of the caller's."""
    with pytest.raises(ValueError, match="plain text"):
        AsyncRad69("http://source.example/", **options)
    AsyncRad69("https://source.example/", **options)
    AsyncRad69("http://localhost/", **options)
    AsyncRad69("http://source.example/", allow_plaintext=True, **options)


# --- a login -------------------------------------------------------------------------------------------


class Site:
    """A source behind a form: it knows sessions, and ends each after so many requests."""

    def __init__(self, otherwise: Scripted, *, lasts: int = 2) -> None:
        self.logins = 0
        self._otherwise = otherwise
        self._lasts = lasts
        self._left = 0
        self._lock = threading.Lock()

    def __call__(self, asked: Asked) -> Scripted:
        with self._lock:
            if asked.head.startswith("POST /login"):
                assert asked.body == b"user=me"
                self.logins += 1
                self._left = self._lasts
                return Scripted(headers=(f"Set-Cookie: session={self.logins}; Path=/; HttpOnly",))
            if f"session={self.logins}" in asked.header("Cookie") and self._left:
                self._left -= 1
                return no(asked)
            return self._otherwise


@pytest.mark.parametrize("otherwise", [UNAUTHORIZED, LOGIN_PAGE, TO_LOGIN], ids=["401", "page", "redirect"])
@pytest.mark.parametrize("kind", ["async", "blocking", "borrowed"])
async def test_a_session_is_made_and_made_again(otherwise: Scripted, kind: str) -> None:
    """A login runs before the first request, and once more when the session has ended, however the source says it."""
    site = Site(otherwise)
    with ScriptedSource(site) as source:
        url = source.url.replace("/rad69", "/login")

        async def login(http: httpx.AsyncClient) -> None:
            (await http.post(url, data={"user": "me"})).raise_for_status()

        def blocking_login(http: httpx.Client) -> None:
            http.post(url, data={"user": "me"}).raise_for_status()

        async with httpx.AsyncClient() as lent:
            options: dict[str, Any] = {"login": blocking_login if kind == "blocking" else login}
            if kind == "borrowed":
                options["http_client"] = lent
            report = await ask(source.url, SERIES[:4], concurrency=1, **options)
    assert refused(report) == 4
    assert site.logins == 2


async def test_one_login_for_all_tasks() -> None:
    """However many tasks see the login page, one logs in."""
    together = threading.Barrier(8)
    site = Site(LOGIN_PAGE, lasts=100)
    left = iter(range(8))

    def script(asked: Asked) -> Scripted:
        if not asked.head.startswith("POST /login") and next(left, None) is not None:
            together.wait(10)
            return LOGIN_PAGE
        return site(asked)

    with ScriptedSource(script) as source:

        async def login(http: httpx.AsyncClient) -> None:
            await http.post(source.url.replace("/rad69", "/login"), data={"user": "me"})

        report = await ask(source.url, SERIES, concurrency=8, login=login)
    assert refused(report) == 8
    assert site.logins == 2


@pytest.mark.parametrize(
    ("otherwise", "error"),
    [(UNAUTHORIZED, AuthenticationError), (LOGIN_PAGE, NotARad69Response), (TO_LOGIN, HTTPStatusRefused)],
)
async def test_a_login_that_changes_nothing(otherwise: Scripted, error: type[Rad69Error]) -> None:
    """The source's second answer of the kind is what is raised: no loop."""
    logins = itertools.count()

    async def login(_: httpx.AsyncClient) -> None:
        next(logins)

    with ScriptedSource(lambda _: otherwise) as source, pytest.raises(error):
        await ask(source.url, login=login)
    assert (next(logins), len(source.requests)) == (2, 2)


def test_the_blocking_client_logs_in() -> None:
    """`Rad69` takes the same functions: here a login and a token that block."""
    site = Site(LOGIN_PAGE)
    with ScriptedSource(site) as source:

        def login(http: httpx.Client) -> None:
            http.post(source.url.replace("/rad69", "/login"), data={"user": "me"})

        with Rad69(source.url, login=login, auth=lambda: "abc") as rad69, pytest.raises(XDSMissingDocumentError):
            rad69.get_dataset(SERIES[0])
    assert source.requests[-1].header("Authorization") == "Bearer abc"


# --- a security header ---------------------------------------------------------------------------------


def until(seconds: float) -> str:
    """A header that expires so many seconds from now."""
    return security(conditions((datetime.now(tz=UTC) + timedelta(seconds=seconds)).isoformat()))


@pytest.mark.parametrize("packaging", ["mtom", "simple"])
@pytest.mark.parametrize("given", [security("<a  b='c'/>"), security("<a  b='c'/>").encode()], ids=["str", "bytes"])
async def test_it_is_in_the_soap_header(given: str | bytes, packaging: str) -> None:
    """Byte for byte, in either packaging."""
    with ScriptedSource(no) as source:
        await ask(source.url, security_header=given, packaging=packaging)
    assert security("<a  b='c'/>").encode() + b"</s:Header>" in source.requests[0].body


@pytest.mark.parametrize(
    ("make", "calls"),
    [(lambda: until(3600), 1), (lambda: until(30), 3), (lambda: security("<nonce/>"), 3)],
    ids=["lasts", "is about to expire", "does not say"],
)
async def test_it_is_renewed_when_it_expires(make: Callable[[], str], calls: int) -> None:
    """A function is asked again a minute before its assertion expires, or each time where it has none."""
    made: list[str] = []

    async def header() -> str:
        made.append(make())
        return made[-1]

    with ScriptedSource(no) as source:
        await ask(source.url, SERIES[:3], security_header=header, concurrency=1)
    assert len(made) == calls
    for number, asked in enumerate(source.requests):
        assert made[number if calls > 1 else 0].encode() in asked.body


@pytest.mark.parametrize("answered", [UNAUTHORIZED, fault("MessageExpired"), fault("FailedAuthentication")])
async def test_it_is_renewed_when_it_is_refused(answered: Scripted) -> None:
    """A 401 and the faults of WS-Security make a function give another, once; other faults do not."""
    made: list[str] = []

    def header() -> str:
        made.append(security(f"<n{len(made)}/>" + conditions("2999-01-01T00:00:00Z")))
        return made[-1]

    with ScriptedSource(lambda asked: no(asked) if b"<n1/>" in asked.body else answered) as source:
        assert refused(await ask(source.url, security_header=header)) == 1
    assert len(source.requests) == 2


async def test_another_fault_renews_nothing() -> None:
    """A fault that is not about security is the source's answer."""
    with ScriptedSource(lambda _: fault("ActionNotSupported")) as source:
        report = await ask(source.url, security_header=lambda: until(3600))
    assert isinstance(report.rows[0].error, SoapFault)
    assert len(source.requests) == 1
