"""``rad69 demo``: the main job, against a source that is there on any machine."""

from __future__ import annotations

import click

import asyncrad69

from ._failures import ExitCode
from ._gathered import gathered
from ._output import OUTPUT_OPTIONS, Output
from ._progress import size
from ._retrieve import retrieve
from ._serve import require_server
from ._source_process import source_process


@click.command
@click.option(
    "-o",
    "--output",
    "target",
    type=click.Path(file_okay=False),
    default="rad69-demo",
    show_default=True,
    help="The folder that the files go to.",
)
@click.option(
    "--slices",
    type=click.IntRange(min=0),
    default=60,
    show_default=True,
    help="The length of the archive's CT series, at 0.5 MB per slice.",
)
@gathered("output", Output, *OUTPUT_OPTIONS)
@click.pass_context
def demo(ctx: click.Context, target: str, slices: int, output: Output) -> None:
    """
    Retrieve a demo archive from a simulated source on this machine.

    The source runs in a process of its own, with invented patients. Run it again: what is there is not asked for.
    """
    require_server()
    try:
        code = _demo(target, slices, output)
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    ctx.exit(code)


def _demo(target: str, slices: int, output: Output) -> ExitCode:
    output.say("starting a simulated source")
    with source_process(slices=slices) as source:
        output.say(
            f"listening at {source.url}, process {source.process_id}: "
            f"{len(source.references)} instances, {size(source.total_bytes)}"
        )
        client = asyncrad69.AsyncRad69(source.url)
        return retrieve(client, source.references, target, output, size_bytes=source.total_bytes)
