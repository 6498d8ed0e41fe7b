"""How ``rad69 get`` reaches a source: credentials, TLS, proxy. Secrets come from the environment, a file or stdin."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import click

from ._secrets import kept, secret

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

_PASSWORD: Final = "RAD69_PASSWORD"  # noqa: S105 - the variable's name
_KEY_PASSWORD: Final = "RAD69_KEY_PASSWORD"  # noqa: S105 - the variable's name

# RFC 9110 5.6.2: a field name is a token; 5.5: no control character in its value.
_FIELD_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_FIELD_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSettings:
    """The options below, as they were given."""

    header: tuple[str, ...]
    user: str | None
    password_stdin: bool
    password_from: str | None
    bearer_env: str | None
    security_header: Path | None
    ca_file: Path | None
    system_trust: bool
    client_cert: Path | None
    client_key: Path | None
    proxy: str | None
    allow_plaintext: bool

    def keywords(self) -> dict[str, Any]:
        """All of this, as `AsyncRad69` and `probe` take it."""
        return {
            "auth": self.auth(),
            "security_header": self.given_security_header(),
            "headers": self.headers(),
            "ssl_context": self.ssl_context(),
            "proxy": self.proxy_url(),
            "allow_plaintext": self.allow_plaintext,
        }

    def auth(self) -> tuple[str, str] | None:
        """User and password."""
        if self.user is None:
            if self.password_stdin or self.password_from:
                raise click.UsageError("--password-stdin and --password-from are the password of a --user")
            return None
        if self.bearer_env is not None:
            raise click.UsageError("pass --user or --bearer-env, not both")
        return self.user, self._password()

    def headers(self) -> dict[str, str]:
        """All headers, the bearer token among them."""
        headers = dict(_header(line) for line in _lines(self.header))
        if self.bearer_env is not None:
            headers["Authorization"] = f"Bearer {_environment(self.bearer_env, '--bearer-env')}"
        return headers

    def given_security_header(self) -> bytes | Callable[[], bytes] | None:
        """The element; a file is read again when its assertion expires, since another command may renew it."""
        if self.security_header is None:
            return None
        if str(self.security_header) != "-":
            if self.security_header.is_file():  # a pipe can be read but once
                _check_security_header(self.security_header)
            return self.security_header.read_bytes
        if self.password_stdin:
            raise click.UsageError("stdin has one secret: pass --password-stdin or --security-header -, not both")
        return sys.stdin.buffer.read()

    def ssl_context(self) -> ssl.SSLContext | None:
        """All of TLS; ``None`` where nothing was asked for."""
        if self.client_key is not None and self.client_cert is None:
            raise click.UsageError("--client-key is the key of a --client-cert")
        if self.ca_file is not None and self.system_trust:
            raise click.UsageError("pass --ca-file or --system-trust, not both")
        if self.ca_file is None and self.client_cert is None and not self.system_trust:
            return None
        from asyncrad69._tls import SYSTEM, tls_context  # noqa: PLC0415 - see the top of this package

        try:
            context = tls_context(SYSTEM if self.system_trust else self.ca_file)
        except (OSError, ValueError) as exc:
            raise click.BadParameter("not a file of PEM certificates", param_hint="--ca-file") from exc
        except ImportError as exc:
            raise click.UsageError(str(exc).replace(f'verify="{SYSTEM}"', "--system-trust")) from exc
        if self.client_cert is not None:
            self._load_client_certificate(context, self.client_cert)
        return context

    def proxy_url(self) -> str | None:
        """The proxy, checked here: elsewhere a complaint would quote it, password and all."""
        if self.proxy is None:
            return None
        try:
            parts = urlsplit(self.proxy)
            valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            valid = False
        if not valid:
            raise click.BadParameter("a proxy is http:// or https:// with a host", param_hint="--proxy")
        return self.proxy

    def _load_client_certificate(self, context: ssl.SSLContext, certificate: Path) -> None:
        try:
            # A function, so that OpenSSL does not ask on the terminal; it is called if the key is encrypted.
            context.load_cert_chain(certificate, self.client_key, password=_key_password)
        except OSError as exc:
            without_key = "; is --client-key missing?" if self.client_key is None else ""
            raise click.BadParameter(
                f"not a PEM certificate and its key: {_reason(exc)}{without_key}", param_hint="--client-cert"
            ) from exc

    def _password(self) -> str:
        if self.password_stdin:
            return sys.stdin.readline().rstrip("\r\n")
        if self.password_from is not None:
            return secret(self.password_from)
        if (password := os.environ.get(_PASSWORD)) is not None:
            return password
        if sys.stdin.isatty():
            return str(click.prompt(f"Password of {self.user}", hide_input=True, err=True))
        raise click.UsageError(f"--user needs a password: set {_PASSWORD}, or pass --password-stdin")


def _check_security_header(path: Path) -> None:
    """What is wrong with the file now is wrong with the command line, as for one that comes by stdin."""
    from asyncrad69._security_header import read_security_header  # noqa: PLC0415 - see the top of this package

    try:
        read_security_header(path.read_bytes())
    except OSError as exc:
        raise click.BadParameter(f"{path}: {_reason(exc)}", param_hint="--security-header") from exc
    except ValueError as exc:
        raise click.BadParameter(str(exc), param_hint="--security-header") from exc


def _lines(given: tuple[str, ...]) -> Iterator[str]:
    """The headers given, those in files included."""
    for header in given:
        if not header.startswith("@"):
            yield header
            continue
        try:
            text = Path(header[1:]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as exc:
            raise click.BadParameter(f"{header[1:]}: {_reason(exc)}", param_hint="--header") from exc
        yield from (line for line in text.splitlines() if line.strip())


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    name, value = name.strip(), value.strip()
    if colon and _FIELD_NAME.fullmatch(name) and _FIELD_VALUE.fullmatch(value):
        return name, value
    # Not quoted: it may be a secret.
    raise click.BadParameter("a header is 'Name: value', or @FILE with one a line", param_hint="--header")


def _environment(name: str, option: str) -> str:
    if value := os.environ.get(name):
        return value
    raise click.BadParameter(f"the environment has no {name}", param_hint=option)


def _key_password() -> str:
    return _environment(_KEY_PASSWORD, "--client-key")


def _reason(exc: OSError | UnicodeDecodeError) -> str:
    return getattr(exc, "strerror", None) or getattr(exc, "reason", None) or type(exc).__name__


_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)

CONNECTION_OPTIONS: Final = (
    click.option(
        "--header",
        multiple=True,
        metavar="'NAME: VALUE'",
        help="Send this header with every request; @FILE has one a line and keeps secrets off the command line.",
    ),
    click.option("--user", metavar="NAME", help=f"Log in as NAME, with the password in {_PASSWORD}."),
    click.option("--password-stdin", is_flag=True, help="Read the password of --user from stdin."),
    click.option(
        "--password-from",
        metavar="PLACE",
        callback=kept,
        help="Take the password of --user from env:NAME or keyring:SERVICE/USER.",
    ),
    click.option("--bearer-env", metavar="VARIABLE", help="Send the token in this environment variable."),
    click.option(
        "--security-header",
        type=click.Path(exists=True, dir_okay=False, path_type=Path, allow_dash=True),
        help="Send the wsse:Security element in this file, e.g. with a SAML assertion; - reads it from stdin.",
    ),
    click.option("--ca-file", type=_FILE, help="Trust these certificate authorities (PEM) and no others."),
    click.option("--system-trust", is_flag=True, help="Trust the certificate authorities of the operating system."),
    click.option("--client-cert", type=_FILE, help="Our certificate (PEM), where the source asks for one."),
    click.option(
        "--client-key", type=_FILE, help=f"Its key, if in a file of its own; {_KEY_PASSWORD} has its password."
    ),
    click.option(
        "--proxy", metavar="URL", envvar="RAD69_PROXY", help="Go through this HTTP proxy; or set RAD69_PROXY."
    ),
    click.option("--allow-plaintext", is_flag=True, help="Let credentials go out over http:// to another machine."),
)
