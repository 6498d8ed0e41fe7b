"""``rad69 get``: instances from a source to files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import click

import asyncrad69
from asyncrad69 import (
    AS_STORED,
    LOSSLESS,
    UNCOMPRESSED,
    InstanceReference,
    InvalidReferenceError,
    Options,
    Rad69Error,
    Retry,
    Timeout,
    references_from,
    references_from_table,
)
from asyncrad69._references import valid_uid

from ._connection import CONNECTION_OPTIONS, ConnectionSettings
from ._gathered import Function, gathered
from ._manifest import document_named, fetched, listed
from ._output import OUTPUT_OPTIONS, Output, in_options, usage_errors
from ._page_file import PAGE_OPTIONS, PageSettings
from ._retrieve import failed, retrieve
from ._studies import STUDY_OPTIONS, Studies
from ._values import parsed, rate_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_DEFAULTS: Final = Options()


# --- what is asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The options below, as they were given."""

    kos: tuple[Path, ...]
    table: tuple[Path, ...]
    reference: tuple[InstanceReference, ...]
    rejected: bool

    def references(self, others: Iterable[InstanceReference] = ()) -> tuple[InstanceReference, ...]:
        """All of them, in the order of the options below, and *others*."""
        listed = [
            *_read(partial(asyncrad69.references_from_kos, rejected=self.rejected), self.kos, "--kos"),
            *_read(references_from_table, self.table, "--table"),
            *self.reference,
            *others,
        ]
        if not listed:
            raise click.UsageError("nothing is asked for: name instances, e.g. by --kos, --table or --reference")
        with usage_errors():
            return references_from(listed)


def _read(
    reader: Callable[[Path], tuple[InstanceReference, ...]], paths: Iterable[Path], option: str
) -> Iterable[InstanceReference]:
    for path in paths:
        try:
            yield from reader(path)
        except InvalidReferenceError as exc:
            raise click.BadParameter(in_options(f"{path}: {exc}"), param_hint=option) from exc
        except OSError as exc:
            raise click.BadParameter(f"{path}: {exc.strerror}", param_hint=option) from exc


def _references(_ctx: click.Context, _param: click.Parameter, given: tuple[str, ...]) -> tuple[InstanceReference, ...]:
    return tuple(_reference(text) for text in given)


def _reference(text: str) -> InstanceReference:
    uids = text.split("/")
    if len(uids) != 3:
        raise click.BadParameter("an instance is named by its study, series and SOP Instance UID, with / between them")
    try:
        return InstanceReference(*uids)
    except InvalidReferenceError as exc:
        raise click.BadParameter(str(exc)) from exc


_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)

ASKED_OPTIONS: Final = (
    click.option("--kos", type=_FILE, multiple=True, help="The instances that a Key Object Selection lists."),
    click.option("--table", type=_FILE, multiple=True, help="The instances that a CSV file lists."),
    click.option(
        "--reference",
        metavar="STUDY/SERIES/INSTANCE",
        callback=_references,
        multiple=True,
        help="One instance, by its UIDs.",
    ),
    click.option("--rejected", is_flag=True, help="Take what rejection notes among the manifests list, too."),
)


# --- how


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrieveSettings:
    """The options below, as they were given."""

    repository: str | None
    home_community: str | None
    endpoint: tuple[tuple[str, str], ...]
    transfer_syntax: tuple[str, ...]
    concurrency: int | Literal["auto"] = _DEFAULTS.concurrency
    instances_per_request: int | None = None
    packaging: str
    identity: str
    attempts: int = _DEFAULTS.retry.attempts
    max_rate: float | None = None
    max_requests_per_minute: float | None = None
    timeout_connect: float | None
    timeout_send: float | None
    timeout_first_byte: float | None
    timeout_idle: float | None
    timeout_total: float | None

    def options(self) -> dict[str, Any]:
        """As the library takes them."""
        return {
            "repository_unique_id": self.repository,
            "home_community_id": self.home_community,
            "endpoints": dict(self.endpoint),
            "transfer_syntaxes": self.transfer_syntax,
            "concurrency": self.concurrency,
            "instances_per_request": self.instances_per_request,
            "packaging": self.packaging,
            "identity": self.identity,
            "retry": Retry(attempts=self.attempts),
            "max_bytes_per_s": self.max_rate,
            "max_requests_per_minute": self.max_requests_per_minute,
            "timeout": Timeout(
                connect_s=self.timeout_connect,
                send_s=self.timeout_send,
                first_byte_s=self.timeout_first_byte,
                idle_s=self.timeout_idle,
                total_s=self.timeout_total,
            ),
        }


def _endpoints(_ctx: click.Context, _param: click.Parameter, given: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    return tuple(_endpoint(text) for text in given)


def _endpoint(text: str) -> tuple[str, str]:
    repository, equals, url = text.partition("=")
    if not equals or not url:
        raise click.BadParameter("an endpoint is REPOSITORY=URL, with the repository's unique id")
    try:
        return valid_uid(repository, "REPOSITORY"), url
    except ValueError as exc:
        raise click.BadParameter(str(exc)) from exc


_PRESETS: Final = {"as-stored": AS_STORED, "lossless": LOSSLESS, "uncompressed": UNCOMPRESSED}


def _transfer_syntaxes(_ctx: click.Context, _param: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(uid for name in given for uid in _PRESETS.get(name) or (_transfer_syntax(name),))


def _transfer_syntax(uid: str) -> str:
    try:
        return valid_uid(uid, "transfer syntax")
    except ValueError as exc:
        raise click.BadParameter(f"{uid!r} is neither {', '.join(_PRESETS)} nor a UID") from exc


def _timeout(option: str, default_s: float | None, what: str) -> Callable[[Function], Function]:
    return click.option(
        option,
        type=click.FloatRange(min=0),
        metavar="SECONDS",
        default=int(default_s or 0),
        show_default=True,
        # What never ends is None for the library.
        callback=lambda _ctx, _param, seconds: seconds or None,
        help=f"{what}; 0 waits for ever.",
    )


class Concurrency(click.IntRange):
    """A number of requests, or ``auto``."""

    def __init__(self) -> None:
        super().__init__(min=1)

    def get_metavar(self, *_: Any, **__: Any) -> str:
        return "NUMBER|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return value if value == "auto" else super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} is neither a number from 1 on nor auto", param, ctx)


# What does not change with how much is asked for at once.
SOURCE_OPTIONS: Final = (
    click.option("--repository", metavar="OID", help="The source's repository unique id, where a reference has none."),
    click.option("--home-community", metavar="URN", help="Its home community, where a reference has none."),
    click.option(
        "--endpoint",
        multiple=True,
        metavar="REPOSITORY=URL",
        callback=_endpoints,
        help="Where that repository is reached, if not at URL; repeat it for more. Credentials go there too.",
    ),
    click.option(
        "--transfer-syntax",
        multiple=True,
        default=("as-stored",),
        show_default=True,
        metavar="NAME|UID",
        callback=_transfer_syntaxes,
        help="What we can process: as-stored, lossless, uncompressed, or a UID; repeat it for more.",
    ),
    click.option(
        "--packaging",
        type=click.Choice(["mtom", "simple"]),
        default=_DEFAULTS.packaging,
        show_default=True,
        help="How the request is packed.",
    ),
    click.option(
        "--identity",
        type=click.Choice(["study", "instance", "content-id"]),
        default=_DEFAULTS.identity,
        show_default=True,
        help="What must agree with the reference: all three UIDs, the instance's, or the name it came under.",
    ),
    _timeout("--timeout-connect", _DEFAULTS.timeout.connect_s, "Name resolution, connect and TLS"),
    _timeout("--timeout-send", _DEFAULTS.timeout.send_s, "Each write of the request"),
    _timeout("--timeout-first-byte", _DEFAULTS.timeout.first_byte_s, "Until the answer begins"),
    _timeout("--timeout-idle", _DEFAULTS.timeout.idle_s, "Between two reads of an answer"),
    _timeout("--timeout-total", _DEFAULTS.timeout.total_s, "A whole exchange"),
)

RETRIEVE_OPTIONS: Final = (
    *SOURCE_OPTIONS,
    click.option(
        "--concurrency",
        type=Concurrency(),
        default=_DEFAULTS.concurrency,
        show_default=True,
        help="Requests at once; auto finds out what the source bears.",
    ),
    click.option(
        "--instances-per-request",
        type=click.IntRange(min=0),
        show_default="a series",
        help="Split series into requests of so many; 0 asks for everything at once.",
    ),
    click.option(
        "--attempts",
        type=click.IntRange(min=1),
        default=_DEFAULTS.retry.attempts,
        show_default=True,
        help="How often an instance is asked for before it is given up.",
    ),
    click.option(
        "--max-rate", metavar="SIZE/s", callback=parsed(rate_of), help="Receive no more than this, e.g. 20MB/s."
    ),
    click.option(
        "--max-requests-per-minute", type=click.FloatRange(min=0, min_open=True), help="Begin no more requests than so."
    ),
)


# --- the command


@click.command
@click.argument("url")
@click.option(
    "-o",
    "--output",
    "target",
    required=True,
    metavar="DIR|TEMPLATE",
    help="A folder, or a path with {StudyInstanceUID}, {SeriesInstanceUID} and {SOPInstanceUID} in it.",
)
@click.option(
    "--existing",
    type=click.Choice(["skip", "verify", "overwrite", "error"]),
    default="skip",
    show_default=True,
    help="What to do about files that are there: not ask for them, check them, replace them, or refuse to begin.",
)
@click.option(
    "--manifest",
    "manifests",
    metavar="REPOSITORY/DOCUMENT",
    multiple=True,
    help="The instances that a manifest in a repository lists.",
)
@click.option("--manifest-url", metavar="URL", help="The repository's ITI-43 endpoint, if it is not the source's URL.")
@gathered("asked", Asked, *ASKED_OPTIONS)
@gathered("studies", Studies, *STUDY_OPTIONS)
@gathered("settings", RetrieveSettings, *RETRIEVE_OPTIONS)
@gathered("connection", ConnectionSettings, *CONNECTION_OPTIONS)
@gathered("page", PageSettings, *PAGE_OPTIONS)
@gathered("output", Output, *OUTPUT_OPTIONS)
@click.pass_context
def get(
    ctx: click.Context,
    *,
    url: str,
    target: str,
    existing: str,
    manifests: tuple[str, ...],
    manifest_url: str | None,
    asked: Asked,
    studies: Studies,
    settings: RetrieveSettings,
    connection: ConnectionSettings,
    page: PageSettings,
    output: Output,
) -> None:
    """
    Retrieve instances from a source and write them to files.

    URL is the source's RAD-69 endpoint. Give at least one of --kos, --table, --reference, --manifest and --study. A
    file appears under its name only once it is whole. Run the same command again after an interruption: what is
    there is not asked for.
    """
    documents = [document_named(text, settings.home_community) for text in manifests]
    with usage_errors():
        keywords = connection.keywords() | settings.options()
        client = asyncrad69.AsyncRad69(url, **keywords)
        repository = asyncrad69.AsyncRad69(manifest_url or url, **keywords)
    try:
        of_studies = studies.references(connection)
    except Rad69Error as exc:
        ctx.exit(failed(exc, target, output))
    in_manifests = (
        listed(each, rejected=asked.rejected) for each in (fetched(repository, documents, output) if documents else ())
    )
    references = asked.references(chain(*in_manifests, of_studies))
    ctx.exit(retrieve(client, references, target, output, page=page.maybe_page(url), existing=existing))
