"""
Every error of httpx as one of ours, with what to do about it. TLS is the larger part: httpx has one class for it.

Nothing that a peer wrote is in a message.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeAlias

import httpx

from ._errors import (
    PROXY_HINT,
    AuthenticationError,
    ConnectionFailed,
    ConnectionLost,
    ConnectionTimedOut,
    LimitExceeded,
    Rad69Error,
    TLSError,
    TransferTimeout,
    TransportError,
)
from ._transport import FramingTooLong

if TYPE_CHECKING:
    from types import ModuleType, TracebackType

ErrorTable: TypeAlias = tuple[tuple[type[Exception], Callable[[Exception], Rad69Error]], ...]


def error_table(library: ModuleType) -> ErrorTable:
    """Exception class of httpx, or of a library with the same names, to ours; the most specific first."""
    named: tuple[tuple[str, Callable[[Exception], Rad69Error]], ...] = (
        ("ConnectTimeout", lambda _: ConnectionTimedOut("no connection was made in time", phase="connect")),
        ("ReadTimeout", lambda _: TransferTimeout("nothing came for too long", phase="idle")),
        ("WriteTimeout", lambda _: TransferTimeout("the request could not be sent in time", phase="send")),
        ("PoolTimeout", _pool_timeout),
        ("ConnectError", _connect_error),
        ("ProxyError", _proxy_error),
        ("UnsupportedProtocol", lambda _: ConnectionFailed("the proxy's or the source's URL scheme is not supported")),
        ("LocalProtocolError", lambda _: TransportError("the request cannot be sent: a header is not valid HTTP")),
        ("RemoteProtocolError", _framing_error),
        ("NetworkError", _network_error),
        ("TransportError", lambda exc: TransportError(f"the transport failed: {type(exc).__name__}")),
        ("HTTPError", lambda exc: TransportError(f"the exchange failed: {type(exc).__name__}")),
    )
    return tuple((getattr(library, name), make) for name, make in named)


def translate(exc: Exception, table: ErrorTable) -> Rad69Error | None:
    """Our error for *exc*; ``None`` where it is not the transport's."""
    return next((make(exc) for cls, make in table if isinstance(exc, cls)), None)


def without_body(exc: Exception) -> Exception:
    """httpx's exceptions carry the request, and with it the assertion or the password: leave method and URL."""
    request = getattr(exc, "_request", None)
    if request is not None:
        bare = type(request)(request.method, request.url.copy_with(query=None))
        exc.request = bare  # type: ignore[attr-defined]
    return exc


class translated:  # noqa: N801 - a context manager; a generator would cost more, and blocks are many
    """Raise what the table has for an error of httpx; anything else as it is."""

    __slots__ = ("_errors",)

    def __init__(self, errors: ErrorTable) -> None:
        self._errors = errors

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, cls: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(exc, Exception) and (ours := translate(exc, self._errors)) is not None:
            raise ours from without_body(exc)


def _proxy_error(exc: Exception) -> Rad69Error:
    # httpcore's words: the status of the proxy's answer to CONNECT, and its reason, which may be anything.
    status = str(exc)[:3]
    if status == "407":
        return AuthenticationError("the proxy wants to know who we are", http_status=407, hint=PROXY_HINT)
    return ConnectionFailed(f"the proxy refused the connection{f': HTTP {status}' if status.isdecimal() else ''}")


def _pool_timeout(_: Exception) -> Rad69Error:
    return TransportError(
        "no connection of the http_client became free",
        hint="Give the http_client at least as many connections as concurrency, and no pool timeout.",
    )


# httpcore's bound on what h11 reads without finding an end.
_HTTPCORE_FRAMING_SIZE = 100 * 1024


def _framing_error(exc: Exception) -> Rad69Error:
    too_long = isinstance(exc, FramingTooLong) or "Receive buffer too long" in str(exc)
    if too_long:
        maximum = getattr(exc, "maximum", _HTTPCORE_FRAMING_SIZE)
        return LimitExceeded(
            f"the reply's HTTP head, or another part of its framing, has more than {maximum} bytes",
            limit="http_framing",
            maximum=maximum,
        )
    # Some of these texts quote the peer's bytes, which may be anything.
    ended = any(phrase in str(exc) for phrase in ("peer closed connection", "Server disconnected"))
    return ConnectionLost(f"the reply's HTTP framing broke{': ' + str(exc) if ended else ''}")


def _network_error(exc: Exception) -> Rad69Error:
    tls = _tls_error(exc)
    return tls or ConnectionLost(f"the connection was lost: {_system_reason(exc)}")


def _connect_error(exc: Exception) -> Rad69Error:
    return _tls_error(exc) or ConnectionFailed(
        f"no connection to the source: {_system_reason(exc)}", hint="Check the host, the port, and the firewall."
    )


def _causes(exc: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = exc
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _system_reason(exc: Exception) -> str:
    """The operating system's words, which httpx often leaves out."""
    for cause in _causes(exc):
        if isinstance(cause, OSError) and cause.strerror:
            # asyncio writes its own words beside the number; name resolution has numbers of its own, below 0.
            return os.strerror(cause.errno) if cause.errno and cause.errno > 0 else cause.strerror
    return str(exc) or type(exc).__name__


def _tls_error(exc: Exception) -> TLSError | None:
    for cause in _causes(exc):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _certificate_error(cause)
        if isinstance(cause, ssl.SSLError) and (cause.reason or "") in _TLS_ALERTS:
            message, hint = _TLS_ALERTS[cause.reason or ""]
            return TLSError(message, hint=hint)
    return None


_CA_HINT = "Pass verify='/path/to/ca.pem' with the certificate authority that the source's operator names, or 'system'."
_HOST_HINT = "The URL must use the name that the certificate is for."
CLIENT_HINT = "Pass cert=(certificate, key), two PEM files, or your own ssl_context=."

_TLS_ALERTS = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": ("the source requires a client certificate", CLIENT_HINT),
    "SSLV3_ALERT_HANDSHAKE_FAILURE": ("the source refused the TLS handshake", CLIENT_HINT),
    "TLSV1_ALERT_UNKNOWN_CA": ("the source does not trust our client certificate", CLIENT_HINT),
    "TLSV1_ALERT_PROTOCOL_VERSION": ("the source offers no TLS version that is safe", "TLS 1.2 or later is needed."),
    "WRONG_VERSION_NUMBER": ("the source does not speak TLS on this port", "Check the port, or use http://."),
    "UNSUPPORTED_PROTOCOL": ("the source offers no TLS version that is safe", "TLS 1.2 or later is needed."),
}


def _certificate_error(error: ssl.SSLCertVerificationError) -> TLSError:
    # OpenSSL's X509_V_ERR numbers.
    if error.verify_code == 10:
        return TLSError("the source's certificate has expired", hint="Its operator has to renew it.")
    if error.verify_code in {62, 64}:
        return TLSError("the source's certificate is for another host", hint=_HOST_HINT)
    if error.verify_code in {2, 18, 19, 20, 21}:
        return TLSError("the source's certificate is signed by an authority this Python does not know", hint=_CA_HINT)
    return TLSError(f"the source's certificate is not valid: {error.verify_message}", hint=_CA_HINT)


# Every name the table needs is there at import: a later httpx that drops one fails here, not in an exchange.
error_table(httpx)
