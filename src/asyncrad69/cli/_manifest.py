"""``rad69 manifest``: what a manifest in a repository lists."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import click

import asyncrad69
from asyncrad69 import DocumentReference, InvalidReferenceError, Rad69Error, RetrievedDocument
from asyncrad69._reference_files import REFERENCE_COLUMNS

from ._connection import CONNECTION_OPTIONS, ConnectionSettings
from ._failures import exit_code
from ._gathered import gathered
from ._output import OUTPUT_OPTIONS, Output, in_options, usage_errors

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asyncrad69 import AsyncRad69, InstanceReference


def document_named(text: str, home_community: str | None) -> DocumentReference:
    """The document that ``REPOSITORY/DOCUMENT`` names."""
    repository, slash, document = text.partition("/")
    if not slash:
        raise click.UsageError("a document is named by its repository's unique id and its own, with / between them")
    with usage_errors():
        return DocumentReference(
            repository_unique_id=repository, document_unique_id=document, home_community_id=home_community
        )


def fetched(
    client: AsyncRad69, documents: Iterable[DocumentReference], output: Output
) -> tuple[RetrievedDocument, ...]:
    """The documents; or an end of the command, with its reason."""

    async def fetch() -> tuple[RetrievedDocument, ...]:
        async with client:
            return await client.retrieve_documents(documents)

    try:
        return asyncio.run(fetch())
    except Rad69Error as exc:
        if output.debug:
            traceback.print_exception(exc)
        output.error(exc.message, exc.hint)
        raise click.exceptions.Exit(exit_code(exc)) from exc


def listed(document: RetrievedDocument, *, rejected: bool) -> tuple[InstanceReference, ...]:
    """What a manifest lists; anything else is a mistake in the command line."""
    from asyncrad69._kos import references_from_document  # noqa: PLC0415 - see the top of this package

    try:
        return references_from_document(document, rejected=rejected)
    except InvalidReferenceError as exc:
        raise click.UsageError(in_options(str(exc))) from exc


@click.command
@click.argument("url")
@click.option("--document", required=True, metavar="REPOSITORY/DOCUMENT", help="The manifest, by its unique ids.")
@click.option("--home-community", metavar="URN", help="Its home community, through a gateway.")
@click.option("--rejected", is_flag=True, help="Take what a rejection note lists, too.")
@click.option(
    "-o",
    "--output",
    "target",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the manifest to this file, as it is, in place of its list.",
)
@gathered("connection", ConnectionSettings, *CONNECTION_OPTIONS)
@gathered("output", Output, *OUTPUT_OPTIONS)
def manifest(
    *,
    url: str,
    document: str,
    home_community: str | None,
    rejected: bool,
    target: Path | None,
    connection: ConnectionSettings,
    output: Output,
) -> None:
    """
    Show what a manifest in a repository lists.

    URL is the repository's ITI-43 endpoint. The list is a table that `rad69 get --table` takes, or JSON.
    """
    asked = document_named(document, home_community)
    with usage_errors():
        client = asyncrad69.AsyncRad69(url, **connection.keywords())
    (got,) = fetched(client, [asked], output)
    if target is not None:
        _write(got.data, target)
        return
    references = listed(got, rejected=rejected)
    click.echo(_json(references) if output.as_json else _table(references), nl=output.as_json)


def _write(data: bytes, target: Path) -> None:
    try:
        with target.open("xb") as file:  # never over another file
            file.write(data)
    except OSError as exc:
        raise click.BadParameter(f"{target}: {exc.strerror}", param_hint="--output") from exc


def _rows(references: Iterable[InstanceReference]) -> Iterable[dict[str, str | None]]:
    return ({name: getattr(each, field) for name, field in REFERENCE_COLUMNS.items()} for each in references)


def _json(references: Iterable[InstanceReference]) -> str:
    return json.dumps(list(_rows(references)), indent=2)


def _table(references: Iterable[InstanceReference]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, REFERENCE_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_rows(references))
    return text.getvalue()
