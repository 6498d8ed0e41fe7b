"""No secret and nothing about a patient gets out: not in a log, an exception, a repr, a pickle or a file name."""

from __future__ import annotations

import asyncio
import logging
import pickle
import traceback
from typing import TYPE_CHECKING, Any, NoReturn

import httpx
import pytest

from asyncrad69 import AsyncRad69, CredentialsError, IncompleteRetrieveError, Rad69Error, StorageError

from .catalogue import FAULTS, Fault
from .driver import ONCE, client_context
from .server import Exchange, FaultServer, good
from .wire import PATIENT_ID, PATIENT_NAME, Study

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STUDY = Study.of()

PASSWORD = "sentinelpassword"
TOKEN = "sentineltoken"
ASSERTION = "sentinelassertion"
COOKIE = "sentinelcookie"

SECRETS = (
    PASSWORD,
    TOKEN,
    ASSERTION,
    COOKIE,
    PATIENT_NAME.split("^")[0],
    PATIENT_ID,
    "c2VudGluZWx1c2VyOnNlbnRpbmVscGFzc3dvcmQ=",
)

BASIC: dict[str, Any] = {"auth": ("sentineluser", PASSWORD)}
BEARER: dict[str, Any] = {"headers": {"Authorization": f"Bearer {TOKEN}", "X-Saml": ASSERTION}}
WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
HEADER = f'<wsse:Security xmlns:wsse="{WSSE}"><a>{ASSERTION}</a></wsse:Security>'


async def _token() -> str:
    return TOKEN


async def _login(http: httpx.AsyncClient) -> None:
    http.cookies.set("session", COOKIE)


async def _header() -> bytes:
    return HEADER.encode()


FUNCTIONS: dict[str, Any] = {"auth": _token, "login": _login, "security_header": _header}
FIXED: dict[str, Any] = {"security_header": HEADER}
EVERYTHING = {"basic": BASIC, "bearer": BEARER, "functions": FUNCTIONS, "security header": FIXED}

#: One of each kind of failure.
NAMES = (
    "status-401", "status-500-html", "redirect-302", "login-page", "closed-before-head", "stall-after-head",
    "fault-12-receiver", "fault-11-client", "failure-missing", "failure-busy", "partial-success", "doctype",
    "cut-xml", "wrong-boundary", "header-without-colon", "not-http", "huge-header", "instance-cut", "stranger",
    "delimiter-in-pixels", "gzip-not", "bad-chunk-size", "two-lengths", "length-too-small",
)  # fmt: skip
CHOSEN = [fault for fault in FAULTS if fault.name in NAMES]


def test_every_failure_has_its_fault() -> None:
    """The list above names faults of the catalogue."""
    assert len(CHOSEN) == len(NAMES)


def _texts(error: BaseException) -> list[str]:
    """Everything an exception may show."""
    chain: list[BaseException] = []
    seen: BaseException | None = error
    while seen is not None and seen not in chain:
        chain.append(seen)
        seen = seen.__cause__ or seen.__context__
    texts = ["".join(traceback.format_exception(error)), repr(getattr(error, "report", None))]
    for each in chain:
        # A server's own words are kept in these two, for whoever asks for them by name.
        shown = {name: value for name, value in vars(each).items() if name not in {"reason", "code_context"}}
        texts += [str(each), repr(each), repr(shown), str(getattr(each, "report", ""))]
        if (request := getattr(each, "_request", None)) is not None:
            texts += [repr(request.headers.raw), repr(request.read())]
    return texts


def _pickled(error: Rad69Error) -> str:
    data = pickle.dumps(error)
    assert len(data) < 10_000
    again = pickle.loads(data)
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again).keys() == vars(error).keys()
    return data.decode("latin-1")


def _check(texts: list[str], allowed: tuple[str, ...] = ()) -> None:
    for secret in SECRETS:
        if secret not in allowed:
            assert not [text for text in texts if secret in text], f"{secret} got out"


@pytest.mark.parametrize("credentials", EVERYTHING.values(), ids=EVERYTHING)
@pytest.mark.parametrize("fault", CHOSEN, ids=lambda fault: fault.name)
def test_no_failure_tells_a_secret(fault: Fault, credentials: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    """With every logger at DEBUG: sentinels are nowhere, UIDs at DEBUG only, and the error pickles, small."""
    caplog.set_level(logging.DEBUG)
    error = asyncio.run(_failure(fault, credentials))
    _check([*_texts(error), _pickled(error), *_records(caplog)])
    shown = [record.getMessage() for record in caplog.records if record.levelno > logging.DEBUG]
    assert not [text for text in shown if "2.25.100" in text], "a UID above DEBUG"


async def _failure(fault: Fault, credentials: dict[str, Any]) -> Rad69Error:
    framing = fault.framings[0]
    with FaultServer(STUDY, lambda exchange: fault.play(exchange, framing)) as server:
        rad69 = AsyncRad69(
            server.url,
            repository_unique_id="1.2.3",
            ssl_context=client_context(),
            retry=ONCE,
            **credentials,
            **fault.options,
        )
        _check([repr(rad69), str(rad69), repr(vars(rad69))])
        try:
            async with rad69:
                async for instance in rad69.instances(STUDY.references):
                    _check([repr(instance), str(instance)])
        except Rad69Error as exc:
            return exc
    raise AssertionError("no failure")


def _records(caplog: pytest.LogCaptureFixture) -> list[str]:
    formatter = logging.Formatter()
    return [formatter.format(record) for record in caplog.records] + [repr(vars(record)) for record in caplog.records]


def test_no_file_name_tells_a_secret(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Names of files, temporary ones included, are made of the UIDs that were asked for."""
    caplog.set_level(logging.DEBUG)
    names: set[str] = set()

    def look(exchange: Exchange) -> None:
        good(exchange)
        names.update(str(path) for path in tmp_path.rglob("*"))

    async def main() -> None:
        async with AsyncRad69(server.url, repository_unique_id="1.2.3", ssl_context=client_context(), **BASIC) as rad69:
            await rad69.download(STUDY.references[:2], tmp_path)
            names.update(str(path) for path in tmp_path.rglob("*"))
            for path in tmp_path.rglob("*.dcm"):
                path.write_bytes(b"in the way")
            with pytest.raises((StorageError, IncompleteRetrieveError)) as caught:
                await rad69.download(STUDY.references, tmp_path)
            _check([*_texts(caught.value), _pickled(caught.value)])
            names.update(str(path) for path in tmp_path.rglob("*"))

    with FaultServer(STUDY, look) as server:
        asyncio.run(main())
    assert names
    _check([*names, *_records(caplog)])


def _told(value: object) -> Callable[..., Any]:
    return lambda: value


def _raising(error: Exception) -> Callable[..., Any]:
    def function() -> NoReturn:
        raise error

    return function


REQUEST = httpx.Request("POST", "https://idp.example/", headers={"Authorization": TOKEN}, content=PASSWORD)

UNUSABLE: dict[str, dict[str, Any]] = {
    "token": {"auth": _told(f"Bearer {TOKEN}")},
    "not XML": {"security_header": _told(HEADER + "<")},
    "not a header": {"security_header": _told(f"<{ASSERTION}/>")},
    "identity provider": {"auth": _raising(httpx.ConnectError("no", request=REQUEST))},
    "login": {"login": lambda _: _raising(httpx.ReadTimeout("no", request=REQUEST))()},
}


@pytest.mark.parametrize("credentials", UNUSABLE.values(), ids=UNUSABLE)
def test_credentials_that_cannot_be_had_are_not_told(
    credentials: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """What a function gave that cannot be sent, and what httpx's errors from inside it carry, stays inside."""
    caplog.set_level(logging.DEBUG)

    async def main() -> Rad69Error:
        async with AsyncRad69("https://localhost:1/", repository_unique_id="1.2.3", **credentials) as rad69:
            with pytest.raises(CredentialsError) as caught:
                await rad69.get_dataset(STUDY.references[0])
        return caught.value

    error = asyncio.run(main())
    _check([*_texts(error), _pickled(error), *_records(caplog)])


@pytest.mark.parametrize("given", [HEADER + "<", f"<{ASSERTION}/>", HEADER.encode("utf-16")])
def test_a_refused_security_header_is_not_repeated(given: str | bytes) -> None:
    """One that is no header is refused when the client is made, and the message has nothing of it."""
    with pytest.raises(ValueError, match="security header") as caught:
        AsyncRad69("https://source.example/", security_header=given)
    _check(_texts(caught.value)[1:])


@pytest.mark.parametrize("url", [f"http://user:{PASSWORD}@localhost/", f"ftp://{TOKEN}/"])
def test_a_refused_url_is_not_repeated(url: str) -> None:
    """A URL that is refused, for the credentials in it or anything else, is not in the message."""
    with pytest.raises(ValueError, match="url") as caught:
        AsyncRad69(url, repository_unique_id="1.2.3")
    _check(_texts(caught.value)[1:])
