"""
Who we are: a bearer token, a login's cookies, a WS-Security header.

Each is fetched when it is first needed, once for all tasks of a client, and again when the source no longer takes it.
"""

from __future__ import annotations

import inspect
import re
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from anyio import Lock

from ._connection import blocking_client, is_async
from ._errors import AuthenticationError, CredentialsError, HTTPStatusRefused, NotARad69Response, Rad69Error, SoapFault
from ._http_errors import without_body
from ._security_header import SecurityHeader, read_security_header
from ._threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ._connection import Connection, Login
    from ._http_client import HTTPClient

T = TypeVar("T")

# RFC 6750 2.1: b64token.
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*", re.ASCII)

_HTML: Final = frozenset(("text/html", "application/xhtml+xml"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """
    What one request shows.

    Attributes:
        generation: Counts how often everything was fetched anew.
        token: The bearer token; ``None`` without one.
        security_header: The wsse:Security element; empty without one.
    """

    generation: int
    token: str | None = field(default=None, repr=False)
    security_header: bytes = field(default=b"", repr=False)


class Identity:
    """
    The proofs of one client.

    Args:
        connection: Has the functions that give them.
        client: The HTTP client that a login may use, and whose cookies it leaves behind.
    """

    def __init__(self, connection: Connection, client: HTTPClient) -> None:
        self._connection = connection
        self._client = client
        self._new_token = connection.token_function
        # Held while something is fetched: everybody else waits for that, and uses it.
        self._lock = Lock(fast_acquire=True)
        self._failures = 0
        self._failure: Rad69Error | None = None
        self._generation = 0
        self._logged_in = False
        self._token: str | None = None
        self._header: SecurityHeader | None = None

    async def show(self, ask: Callable[[Proof], Awaitable[T]]) -> T:
        """
        *ask* with a proof; once more, with another, where the source no longer takes the first.

        Raises:
            CredentialsError: No proof is to be had.
        """
        proof = await self._proof()
        try:
            return await ask(proof)
        except Rad69Error as exc:
            if not self._doubts(exc):
                raise
        self._forget(proof)
        return await ask(await self._proof())

    async def _proof(self) -> Proof:
        """What to show now; fetched, if it is not there."""
        failures = self._failures
        async with self._lock:
            if self._failures > failures and self._failure is not None:
                # It was tried while we waited. To try in turn would be so many wrong passwords, and lock an account.
                raise copy(self._failure) from self._failure.__cause__
            try:
                return await self._fetched()
            except Rad69Error as exc:
                self._failures += 1
                self._failure = copy(exc)
                self._failure.__cause__ = exc.__cause__
                raise

    async def _fetched(self) -> Proof:
        if self._connection.login is not None and not self._logged_in:
            await self._log_in(self._connection.login)
        if self._new_token is not None and self._token is None:
            self._token = _checked_token(await _call("auth", self._new_token))
        header = await self._security_header()
        return Proof(generation=self._generation, token=self._token, security_header=header)

    def _forget(self, shown: Proof) -> None:
        # Whoever comes later with an older proof takes the one that is there by then.
        if shown.generation == self._generation:
            self._generation += 1
            self._logged_in, self._token, self._header = False, None, None

    def _doubts(self, error: Rad69Error) -> bool:
        """Whether *error* says that the source does not know us, and another proof can be had."""
        login, new_header = self._connection.login is not None, callable(self._connection.security_header)
        if isinstance(error, AuthenticationError):
            return error.http_status == 401 and (login or new_header or self._new_token is not None)
        if isinstance(error, SoapFault):
            return new_header and error.refuses_us
        # A login page, or the way to one.
        is_page = isinstance(error, NotARad69Response) and error.content_type in _HTML
        return login and (is_page or (isinstance(error, HTTPStatusRefused) and 300 <= error.http_status < 400))

    async def _log_in(self, login: Login) -> None:
        if is_async(login):
            await _call("login", partial(login, self._client))  # type: ignore[arg-type]
        else:
            cookies = await _call("login", partial(_cookies_after, login, self._connection))
            self._client.cookies.update(cookies)
        self._logged_in = True

    async def _security_header(self) -> bytes:
        given = self._connection.security_header
        if given is None:
            return b""
        header = self._header
        # One that does not say when it expires may be meant for one message (a nonce): ask each time.
        if callable(given) and (header is None or not header.not_on_or_after or header.expires_within_a_minute()):
            header = _checked_header(await _call("security_header", given))
        self._header = header or _checked_header(given)
        return self._header.element


async def _call(name: str, function: Callable[..., Any]) -> Any:
    """The result of the caller's own *function*, which may be async; one that is not gets a thread."""
    try:
        result = function() if is_async(function) else await in_thread(function)
        return await result if inspect.isawaitable(result) else result
    except Rad69Error:
        raise
    except Exception as exc:  # noqa: BLE001 - whatever the caller's code raises
        raise CredentialsError(f"the function given as {name}= failed: {type(exc).__name__}") from without_body(exc)


def _cookies_after(login: Callable[..., object], connection: Connection) -> object:
    with blocking_client(connection) as http:
        if inspect.isawaitable(login(http)):
            raise TypeError("a login that awaits is an 'async def' function")
        return http.cookies


def _checked_token(token: object) -> str:
    if isinstance(token, str) and _TOKEN.fullmatch(token):
        return token
    raise CredentialsError(
        "the function given as auth= gave something that is no bearer token (RFC 6750)",
        hint="It gives a str, the token alone, without 'Bearer' before it.",
    )


def _checked_header(given: Any) -> SecurityHeader:
    try:
        return read_security_header(given)
    except (TypeError, ValueError) as exc:
        raise CredentialsError(str(exc)) from None
