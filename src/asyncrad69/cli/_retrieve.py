"""A retrieve to files, watched: what ``demo`` and ``get`` have in common."""

from __future__ import annotations

import asyncio
import traceback
from typing import TYPE_CHECKING, Any, Final

import click
from anyio import CancelScope

from asyncrad69 import IncompleteRetrieveError, InstanceReference, Rad69Error, Report

from ._failures import ExitCode, exit_code, incomplete_exit_code
from ._interrupts import interrupts, no_interrupts
from ._output import Output, in_options
from ._progress import Tally

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from asyncrad69 import AsyncRad69
    from asyncrad69._events import OnEvent

    from ._page_file import Page


def retrieve(
    client: AsyncRad69,
    references: Sequence[InstanceReference],
    target: str | PathLike[str],
    output: Output,
    *,
    size_bytes: int | None = None,
    page: Page | None = None,
    **options: Any,
) -> ExitCode:
    """
    Download *references* to *target*, show how it goes, and say how it went.

    Args:
        client: Not yet open.
        references: What is asked for.
        target: A folder or a template.
        output: What is said, and where.
        size_bytes: The sum of the instances, where it is known.
        page: The report as a page to write, however the retrieve ends.
        **options: Passed to ``AsyncRad69.download``.
    """
    tally = Tally(len(references), size_bytes)
    code = _retrieved(client, references, target, output, tally, page, **options)
    if page is None or tally.report is None or page.written(tally.report, target, output):
        return code
    return ExitCode.STORAGE


def _retrieved(
    client: AsyncRad69,
    references: Sequence[InstanceReference],
    target: str | PathLike[str],
    output: Output,
    tally: Tally,
    page: Page | None,
    **options: Any,
) -> ExitCode:
    try:
        with output.display(tally) as display:
            on_event = page.watching(display.note) if page else display.note
            report = asyncio.run(_download(client, references, target, on_event, **options))
    except KeyboardInterrupt:  # before or after what `_download` takes care of
        report = None
    except Rad69Error as exc:
        return failed(exc, target, output)
    except (ValueError, TypeError) as exc:
        if tally.asked:
            raise
        raise click.UsageError(in_options(str(exc))) from exc
    if report is None:
        with no_interrupts():
            return _interrupted(tally, target, output)
    output.result(report, target)
    return ExitCode.COMPLETE


async def _download(
    client: AsyncRad69,
    references: Sequence[InstanceReference],
    target: str | PathLike[str],
    on_event: OnEvent,
    **options: Any,
) -> Report | None:
    """The report; ``None`` after Ctrl-C."""
    async with client:
        # Within the client, which has the tasks that report how it ended.
        with CancelScope() as scope, interrupts(scope.cancel, scope.cancel):
            return await client.download(references, target, on_event=on_event, **options)
    return None


def failed(error: Rad69Error, target: str | PathLike[str], output: Output) -> ExitCode:
    """Say what went wrong, with the report of what came before."""
    if output.debug:
        traceback.print_exception(error)
    output.result(error.report, target, error)
    if isinstance(error, IncompleteRetrieveError):
        return _incomplete(error.report, output)
    output.error(error.message, error.hint)
    return exit_code(error)


# Where asking again would end alike.
_LISTED: Final = "--json or --report-html lists them."


def _incomplete(report: Report, output: Output) -> ExitCode:
    code = incomplete_exit_code(report)
    lost = [row for row in report.rows if row.state != "delivered"]
    errors = [row.error for row in lost if row.error]
    if code is ExitCode.INCOMPLETE:
        again = any(row.error is None or row.error.retryable for row in lost)
        hint = next((f"{error.hint} " for error in errors if error.hint), "")
        output.error(
            f"incomplete: {len(lost):,} of {len(report.rows):,} instances did not come",
            f"{hint}{'Run the same command again to ask only for these.' if again else _LISTED}",
        )
    else:
        cause = next(error for error in errors if exit_code(error) is code)
        output.error(cause.message, cause.hint)
    return code


def _interrupted(tally: Tally, target: str | PathLike[str], output: Output) -> ExitCode:
    # The report knows what has its file. Before the retrieve began there is none, but there may be files.
    written = sum(row.path is not None for row in tally.report.rows) if tally.report else tally.delivered
    if output.as_json:
        output.result(tally.report, target)
    output.error(
        f"interrupted: {written:,} of {tally.instances:,} instances are whole in {target}",
        "Run the same command again to go on.",
    )
    return ExitCode.INTERRUPTED
