"""The HTTP client that requests go through: httpx's, or one of a library with the same names and signatures."""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Any, Protocol

import httpx

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from types import ModuleType


class HTTPClient(Protocol):
    """What is used of a lent client: `httpx.AsyncClient` has it, and so has the one of httpx2."""

    @property
    def cookies(self) -> Any: ...

    def build_request(
        self, method: str, url: str, *, headers: dict[str, str], content: bytes | None, timeout: Any
    ) -> Any: ...

    async def send(self, request: Any, *, stream: bool, auth: Any, follow_redirects: bool) -> Any: ...


class AuthFlow(Protocol):
    """What a library's own kind of ``auth`` is known by: `httpx.Auth` has it."""

    def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]: ...


def library_of(client: object) -> ModuleType:
    """httpx, or the library with the same names (httpx2) that the client's class comes from."""
    for cls in type(client).__mro__:
        module = sys.modules.get(cls.__module__.partition(".")[0])
        if module is not None and hasattr(module, "RemoteProtocolError"):
            return module
    return httpx


def is_auth_flow(auth: object) -> bool:
    """Whether *auth* is a library's own kind, and not a function."""
    return hasattr(auth, "async_auth_flow")


def check_client(client: object) -> None:
    """
    Raises:
        TypeError: It is none that requests can be awaited of.
    """
    known = isinstance(client, library_of(client).AsyncClient)  # whatever instrumentation has put around its methods
    if not known and not inspect.iscoroutinefunction(getattr(client, "send", None)):
        raise TypeError(f"http_client is an httpx.AsyncClient; not a {type(client).__name__}")


def check_auth_flow(auth: object, client: object) -> None:
    """
    Raises:
        TypeError: It is of another library than *client*, which would know nothing to do with it.
    """
    library = library_of(client)
    if is_auth_flow(auth) and not isinstance(auth, library.Auth):
        raise TypeError(f"auth is an {library.__name__}.Auth, as its client is; not one of {library_of(auth).__name__}")
