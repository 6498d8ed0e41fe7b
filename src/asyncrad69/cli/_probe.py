"""``rad69 probe``: which layer of a source works, and which does not."""

from __future__ import annotations

import asyncio
import json
import traceback
from typing import TYPE_CHECKING, Final

import click

import asyncrad69
from asyncrad69 import InstanceReference

from ._connection import CONNECTION_OPTIONS, ConnectionSettings
from ._failures import ExitCode, exit_code
from ._gathered import gathered
from ._get import ASKED_OPTIONS, Asked
from ._output import in_options, usage_errors

if TYPE_CHECKING:
    from asyncrad69 import Layer, Probe

_MARKS: Final = {"works": ("ok", "green"), "fails": ("FAILS", "red"), "unknown": ("-", "bright_black")}
_CODES: Final = {
    "dns": ExitCode.UNREACHABLE,
    "tcp": ExitCode.UNREACHABLE,
    "tls": ExitCode.UNREACHABLE,
    "auth": ExitCode.AUTHENTICATION,
    "soap": ExitCode.NOT_RAD69,
    "mtom": ExitCode.NOT_RAD69,
    "addressing": ExitCode.NOT_RAD69,
    "rad69": ExitCode.NOT_RAD69,
}


@click.command("probe")
@click.argument("url")
@click.option("--repository", metavar="OID", help="The source's repository unique id, to see whether it agrees.")
@click.option("--home-community", metavar="URN", help="Its home community.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON on stdout.")
@click.option("--debug", is_flag=True, help="Show the traceback of what failed.")
@gathered("asked", Asked, *ASKED_OPTIONS)
@gathered("connection", ConnectionSettings, *CONNECTION_OPTIONS)
@click.pass_context
def probe(
    ctx: click.Context,
    *,
    url: str,
    repository: str | None,
    home_community: str | None,
    as_json: bool,
    debug: bool,
    asked: Asked,
    connection: ConnectionSettings,
) -> None:
    """
    Say layer by layer whether a source can be reached, and what to do.

    URL is the source's RAD-69 endpoint. One instance is asked for, and not kept: the first that --reference, --table
    or --kos names, or one that nobody has, whose refusal shows that RAD-69 is spoken.
    """
    with usage_errors():
        found = asyncio.run(
            asyncrad69.probe(
                url,
                _maybe_reference(asked),
                repository_unique_id=repository,
                home_community_id=home_community,
                **connection.keywords(),
            )
        )
    if debug and found.failure is not None and found.failure.error is not None:
        traceback.print_exception(found.failure.error)
    if as_json:
        click.echo(in_options(json.dumps(found.to_dict(), indent=2)))
    else:
        _show(found)
    ctx.exit(_code(found))


def _maybe_reference(asked: Asked) -> InstanceReference | None:
    return next(iter(asked.references())) if asked.kos or asked.table or asked.reference else None


def _show(found: Probe) -> None:
    click.echo(found.origin)
    for layer in found.layers:
        mark, colour = _MARKS[layer.state]
        click.echo(f"  {layer.name:<12}{click.style(f'{mark:<7}', fg=colour)}{layer.says}")
        if layer.hint:
            click.echo(f"  {'':19}{in_options(layer.hint)}")


def _code(found: Probe) -> ExitCode:
    failure: Layer | None = found.failure
    if failure is None:
        return ExitCode.COMPLETE
    if failure.name in _CODES:
        return _CODES[failure.name]
    code = exit_code(failure.error) if failure.error else ExitCode.INCOMPLETE
    # A bare status, such as 400 or 500, is no answer of a source about an instance.
    return ExitCode.NOT_RAD69 if failure.name == "http" and code is ExitCode.INCOMPLETE else code
