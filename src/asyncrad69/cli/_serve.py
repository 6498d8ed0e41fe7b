"""``rad69 serve``: a simulated source to try things with."""

from __future__ import annotations

import csv
import json
import shlex
import threading
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import click

import asyncrad69.testing

from ._behaviour import behaviour_options, check_tls, client_options, with_auth
from ._failures import ExitCode
from ._output import usage_errors
from ._progress import size, stderr_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asyncrad69 import InstanceReference
    from asyncrad69.testing import SimulatedSource

_COLUMNS: Final = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "RepositoryUniqueId")


def require_server() -> None:
    """
    Check that a simulated source can run here.

    Raises:
        click.UsageError: The extra is missing.
    """
    if find_spec("uvicorn") is None:
        raise click.UsageError('the simulated source needs uvicorn: pip install "asyncrad69[cli,server]"')


@click.command
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), required=False)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8069,
    show_default=True,
    help="The port to listen at; 0 takes a free one.",
)
@click.option(
    "--repository",
    "repository_unique_id",
    default="1.2.3.4",
    show_default=True,
    help="The source's repository unique id.",
)
@click.option(
    "--slices",
    type=click.IntRange(min=0),
    default=60,
    show_default=True,
    help="Without FOLDER: the length of the demo archive's CT series.",
)
@behaviour_options
@click.option(
    "--table",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write what the source has to this CSV file, which 'rad69 get --table' reads.",
)
@click.option("--json", "as_json", is_flag=True, help="Say where it listens as one line of JSON on stdout.")
@click.pass_context
def serve(
    ctx: click.Context, /, folder: Path | None, slices: int, table: Path | None, *, as_json: bool, **options: Any
) -> None:
    """
    Run a simulated source, until Ctrl-C.

    It serves the DICOM files below FOLDER, or a demo archive of invented patients. It is for trying things:
    unless told to, it asks nobody who they are.
    """
    require_server()
    check_tls(options)
    needed = client_options(options)
    options = with_auth(options)
    with usage_errors():
        if folder is None:
            source = asyncrad69.testing.SimulatedSource.demo(slices=slices, **options)
        else:
            source = _source_of(folder, options)
    references = source.references()
    if not references:
        raise click.UsageError(f"there are no DICOM instances below {folder}")
    if table is not None:
        try:
            _write_table(table, references)
        except OSError as exc:
            raise click.BadParameter(f"{table}: {exc.strerror}", param_hint="--table") from exc
    try:
        source.start()
    except OSError as exc:
        raise click.UsageError(f"cannot listen at {options['host']}, port {options['port']}: {exc.strerror}") from exc
    click.echo(_as_json(source) if as_json else "\n".join(_introduction(source, table, needed)))
    _wait_for_interrupt()
    source.stop()
    stderr_line(f"stopped after {len(source.requests):,} requests")
    ctx.exit(ExitCode.COMPLETE)


def _source_of(folder: Path, options: dict[str, Any]) -> SimulatedSource:
    try:
        return asyncrad69.testing.SimulatedSource(folder, **options)
    except OSError as exc:
        name = Path(exc.filename or folder).name
        raise click.BadParameter(f"{name} cannot be read: {exc.strerror}", param_hint="FOLDER") from exc


def _wait_for_interrupt() -> None:
    never = threading.Event()
    try:
        # On Windows, Ctrl-C does not end a wait; it is seen between two.
        while not never.wait(1.0):
            pass
    except KeyboardInterrupt:
        return


def _as_json(source: SimulatedSource) -> str:
    references = source.references()
    return json.dumps(
        {
            "url": source.url,
            "repository_unique_id": references[0].repository_unique_id,
            "instances": len(references),
            "bytes": source.total_bytes,
        }
    )


def _introduction(source: SimulatedSource, table: Path | None, needed: list[str]) -> Iterator[str]:
    references = source.references()
    url, *more = _asked_at(source.url, needed)
    words = shlex.join(["rad69", "get", url, *_what(references[0], table), *more, "-o", "images"])
    yield f"url          {source.url}"
    yield f"repository   {references[0].repository_unique_id}"
    yield f"instances    {len(references):,}, {size(source.total_bytes)}"
    yield f"fetch        {words}"
    yield "Ctrl-C stops it."


def _asked_at(url: str, needed: list[str]) -> list[str]:
    """The URL that ``rad69 get`` takes on this machine, and the options that it needs there."""
    # What listens at every address is not connected to at that of none.
    url = url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
    # Without TLS, whatever is needed is a secret.
    shown = needed and url.startswith("http:") and not ip_address(urlsplit(url).hostname or "").is_loopback
    return [url, *needed, *(["--allow-plaintext"] if shown else [])]


def _what(first: InstanceReference, table: Path | None) -> list[str]:
    if table is not None:
        return ["--table", str(table)]
    path = f"{first.study_instance_uid}/{first.series_instance_uid}/{first.sop_instance_uid}"
    return ["--repository", str(first.repository_unique_id), "--reference", path]


def _write_table(path: Path, references: tuple[InstanceReference, ...]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        writer.writerows(
            (
                reference.study_instance_uid,
                reference.series_instance_uid,
                reference.sop_instance_uid,
                reference.repository_unique_id,
            )
            for reference in references
        )
