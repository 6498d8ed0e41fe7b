"""TLS for tests: an authority that nobody else trusts, servers with its certificates, and clients that trust it."""

from __future__ import annotations

import ssl
from functools import cache
from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    from datetime import datetime


@cache
def authority() -> trustme.CA:
    """The authority of this run."""
    return trustme.CA()


def served(
    *names: str, asks: bool = False, by: trustme.CA | None = None, not_after: datetime | None = None
) -> ssl.SSLContext:
    """The server's side, for *names* or localhost; one that *asks* wants a certificate of the client's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (by or authority()).issue_cert(*(names or ("localhost",)), not_after=not_after).configure_cert(context)
    if asks:
        context.verify_mode = ssl.CERT_REQUIRED
        authority().configure_trust(context)
    return context


def trusting(*, shows: bool = False) -> ssl.SSLContext:
    """The client's side, quicker to make than one with the world's authorities; one that *shows* who it is."""
    context = ssl.create_default_context(cadata=authority().cert_pem.bytes().decode())
    if shows:
        authority().issue_cert("client.example").configure_cert(context)
    return context
