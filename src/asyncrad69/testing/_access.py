"""Who may ask: TLS, HTTP authentication and the security header. What a test of a secured client needs, and no more."""

from __future__ import annotations

import base64
import hmac
import ssl
from typing import TYPE_CHECKING, TypeAlias

from ._request import Message, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from os import PathLike

#: User and password, or a bearer token.
Credentials: TypeAlias = tuple[str, str] | str
#: Whether wsse:Security must be there; or what judges the SOAP envelope that holds it, as it came.
SecurityHeader: TypeAlias = "bool | Callable[[bytes], bool]"


def tls_context(
    certfile: str | PathLike[str],
    keyfile: str | PathLike[str] | None = None,
    client_ca: str | PathLike[str] | None = None,
) -> ssl.SSLContext:
    """
    TLS with that certificate; mutual TLS if *client_ca* says who signs those of clients.

    Raises:
        OSError: A file cannot be read, or (ssl.SSLError) does not hold what it should.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certfile, keyfile)
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def maybe_challenge(headers: Mapping[str, str], credentials: Credentials | None) -> bytes | None:
    """The WWW-Authenticate header with which a request without the right credentials is refused."""
    if credentials is None:
        return None
    if isinstance(credentials, str):
        expected, challenge = f"Bearer {credentials}", b'Bearer realm="rad69"'
    else:
        pair = base64.b64encode(":".join(credentials).encode()).decode()
        expected, challenge = f"Basic {pair}", b'Basic realm="rad69", charset="UTF-8"'
    came = headers.get("authorization", "")
    return None if hmac.compare_digest(came.encode(), expected.encode()) else challenge


def check_security(message: Message, required: SecurityHeader) -> None:
    """
    Check the security header.

    Raises:
        Refusal: It is missing, or judged to be wrong (WS-Security 1.1, 12).
    """
    if required is False:
        return
    if not message.has_security:
        raise Refusal("wsse:Security is missing", subcodes=("InvalidSecurity",), security=True)
    if callable(required) and not required(message.envelope):
        raise Refusal("wsse:Security is not accepted", subcodes=("FailedAuthentication",), security=True)
