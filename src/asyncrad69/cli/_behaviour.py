"""How the source of ``rad69 serve`` behaves: its shape, its faults, who may ask, its pace."""

from __future__ import annotations

import os
import ssl
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from asyncrad69.testing import Fault, FaultPlanError
from asyncrad69.testing._access import tls_context
from asyncrad69.testing._faults import KINDS
from asyncrad69.testing._profiles import PROFILES

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")

_PASSWORD: Final = "RAD69_PASSWORD"  # noqa: S105 - the variable's name
_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


def _faults(ctx: click.Context, param: click.Parameter, texts: tuple[str, ...]) -> tuple[Fault, ...]:
    try:
        return tuple(map(Fault.parse, texts))
    except FaultPlanError as exc:
        raise click.BadParameter(str(exc), ctx, param) from exc


_OPTIONS: Final = (
    click.option(
        "--profile",
        type=click.Choice(tuple(PROFILES)),
        default="plain",
        show_default=True,
        help="The stack whose answers are imitated, byte shape by byte shape.",
    ),
    click.option(
        "--framing",
        type=click.Choice(("chunked", "length")),
        default="chunked",
        show_default=True,
        help="Chunked coding, or a Content-Length.",
    ),
    click.option(
        "--fault",
        "faults",
        multiple=True,
        metavar="KIND:NAME=VALUE,...",
        callback=_faults,
        help="What goes wrong, and when, e.g. cut:rate=0.1,after=100000 or status:status=503,retry_after=1,times=2. "
        f"Several may be given. Kinds: {', '.join(KINDS)}.",
    ),
    click.option("--seed", type=int, default=0, show_default=True, help="What the rates of faults are drawn from."),
    click.option("--user", metavar="NAME", help=f"Ask for this user, with the password in {_PASSWORD}."),
    click.option("--bearer-env", metavar="VARIABLE", help="Ask for the token in this environment variable."),
    click.option("--security-header", is_flag=True, help="Ask for a wsse:Security, e.g. with a SAML assertion."),
    click.option("--certfile", type=_FILE, help="TLS with this certificate (PEM)."),
    click.option("--keyfile", type=_FILE, help="Its key, if in a file of its own."),
    click.option("--client-ca", type=_FILE, help="Mutual TLS: ask for client certificates of this CA (PEM)."),
    click.option("--latency", "latency_s", type=float, default=0.0, help="Seconds that a request waits."),
    click.option(
        "--latency-per-instance", "latency_per_instance_s", type=float, default=0.0, help="More, for each instance."
    ),
    click.option("--bytes-per-s", type=float, help="How fast an answer is sent at most."),
    click.option("--max-concurrency", type=int, help="Answer more requests at once with 503 and Retry-After."),
)


def behaviour_options(command: F) -> F:
    """Give a command the options that `SimulatedSource` takes by keyword; see `with_auth`."""
    return reduce(lambda decorated, option: option(decorated), reversed(_OPTIONS), command)


def with_auth(options: dict[str, Any]) -> dict[str, Any]:
    """
    The options as `SimulatedSource` takes them, with the secret that is in the environment.

    Raises:
        click.UsageError: It is not there, or two are asked for.
    """
    rest = {name: value for name, value in options.items() if name not in {"user", "bearer_env"}}
    user, bearer_env = options["user"], options["bearer_env"]
    if user is not None and bearer_env is not None:
        raise click.UsageError("pass --user or --bearer-env, not both")
    if user is not None:
        return {**rest, "auth": (user, _secret(_PASSWORD))}
    return rest if bearer_env is None else {**rest, "auth": _secret(bearer_env)}


def _secret(variable: str) -> str:
    if value := os.environ.get(variable):
        return value
    raise click.UsageError(f"the environment has no {variable}")


def client_options(options: dict[str, Any]) -> list[str]:
    """What ``rad69 get`` needs to be let in. Names in capitals stand for files that only the user knows."""
    needed = [("--user", options["user"]), ("--bearer-env", options["bearer_env"])]
    if options["security_header"]:
        needed.append(("--security-header", "SECURITY.xml"))
    if options["certfile"] is not None:
        needed.append(("--ca-file", str(options["certfile"]) if _signs_itself(options["certfile"]) else "CA.pem"))
    if options["client_ca"] is not None:
        needed.append(("--client-cert", "CLIENT.pem"))
    return [word for option, value in needed if value is not None for word in (option, value)]


def _signs_itself(certfile: Path) -> bool:
    """Whether its certificate, or one that comes with it, can be trusted without another file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certfile)
    return any(each["subject"] == each["issuer"] for each in context.get_ca_certs())


def check_tls(options: dict[str, Any]) -> None:
    """
    Check the files for TLS among the options, to complain of them in the words of the command line.

    Raises:
        click.UsageError: A file does not hold what it should.
    """
    if options["certfile"] is None:
        return
    try:
        tls_context(options["certfile"], options["keyfile"], options["client_ca"])
    except OSError as exc:
        raise click.UsageError(f"--certfile, --keyfile or --client-ca: {exc.strerror}") from exc
