"""TLS: whom we trust, and the certificate that says who we are. The only room that knows truststore."""

from __future__ import annotations

import os
import ssl
import sys
from typing import TYPE_CHECKING, Final, NoReturn, TypeAlias

import httpx

if TYPE_CHECKING:
    from os import PathLike

    Path: TypeAlias = str | PathLike[str]
    Verify: TypeAlias = str | PathLike[str]
    Certificate: TypeAlias = Path | tuple[Path, Path] | tuple[Path, Path, str]

#: What ``verify=`` says for the trust store of the operating system.
SYSTEM: Final = "system"


def tls_context(verify: Verify | None = None, cert: Certificate | None = None) -> ssl.SSLContext:
    """
    The context for connections to the source, and to a proxy with https.

    Args:
        verify: A file of CA certificates, or `SYSTEM`; by default those that come with httpx.
        cert: Our certificate and its key, in one PEM file or two, and the key's password.

    Raises:
        OSError: A file is not there, or cannot be read.
        ValueError: A file is not what it should be.
        ImportError: To find the trust store of this system takes the extra ``truststore``.
    """
    if verify is None:
        context = httpx.create_ssl_context()
    elif verify == SYSTEM:
        context = _system_context()
    else:
        context = _trusting(verify)
    if cert is not None:
        _load(context, *((cert,) if not isinstance(cert, tuple) else cert))
    return context


def _system_context() -> ssl.SSLContext:
    if sys.platform not in {"darwin", "win32"}:
        # Here OpenSSL itself verifies, with a file that is read once; truststore would read it for every connection.
        context = ssl.create_default_context()
        if context.cert_store_stats()["x509_ca"]:
            return context
    try:
        import truststore  # noqa: PLC0415 - an extra
    except ImportError as exc:
        raise ImportError('verify="system" needs truststore: pip install "asyncrad69[truststore]"') from exc
    return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _trusting(authorities: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=authorities)
    except ssl.SSLError:
        raise ValueError("verify is not a file of PEM certificates") from None
    except OSError as exc:
        raise _unreadable("verify", authorities, exc) from None


def _load(context: ssl.SSLContext, certificate: Path, key: Path | None = None, password: str | None = None) -> None:
    # A function, so that OpenSSL does not ask on the terminal; it is called if the key is encrypted.
    given = _no_password if password is None else password
    try:
        context.load_cert_chain(certificate, key, given)
    except ssl.SSLError:
        without_key = " (is the key missing?)" if key is None else ""
        raise ValueError(
            f"cert is not a PEM certificate and its key{without_key}, or the key's password is another one: "
            "pass cert=(certificate, key) or (certificate, key, password)"
        ) from None
    except OSError as exc:
        files = (certificate,) if key is None else (certificate, key)
        unreadable = next((each for each in files if not os.access(each, os.R_OK)), certificate)
        raise _unreadable("cert", unreadable, exc) from None


def _unreadable(option: str, path: Path, error: OSError) -> OSError:
    """The same error, with the names that OpenSSL leaves out; Python picks the class by the number."""
    return OSError(error.errno, f"{option}: {error.strerror}", os.fspath(path))


def _no_password() -> NoReturn:
    raise ValueError("the client certificate's key is encrypted: pass cert=(certificate, key, password)")
