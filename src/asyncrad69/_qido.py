"""
The instances of a study or a series, asked of a DICOMweb archive with QIDO-RS (PS3.18 10.6).

RAD-69 has no wildcard; the first thing people have is a Study Instance UID.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Unpack

from ._connection import Connection, ConnectionOptions
from ._content_encoding import content_decoder
from ._endpoint import Endpoint
from ._errors import InvalidReferenceError, LimitExceeded, QidoError
from ._limits import MIB
from ._multipart import shown
from ._options import Timeout
from ._references import InstanceReference, valid_addressing, valid_uid
from ._reply import status_error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ._endpoint import Response
    from ._identity import Proof

_STUDY, _SERIES, _INSTANCE = "0020000D", "0020000E", "00080018"
_JSON = "application/dicom+json"
_MEDIA_TYPES = frozenset((_JSON, "application/json"))

# Some thousand instances of 2 KB each are a page.
_MAX_PAGE = 128 * MIB
_MAX_INFLATION = 1000  # JSON that says the same of every instance compresses well

_HINTS = {
    404: "qido_url is the DICOMweb service's root, e.g. https://archive.example/dicom-web; or the study is unknown.",
} | dict.fromkeys((301, 302, 303, 307, 308), "Redirects are not followed: use the final URL.")


async def expand(
    study_uid: str,
    *,
    qido_url: str,
    series_uid: str | None = None,
    repository_unique_id: str | None = None,
    home_community_id: str | None = None,
    page_size: int = 1000,
    timeout: Timeout | None = None,  # noqa: ASYNC109 - a set of limits, each for another wait
    **connection: Unpack[ConnectionOptions],
) -> tuple[InstanceReference, ...]:
    """
    The references of all instances of a study, or of one of its series, in the archive's order, each once.

    Pages are asked for until one brings nothing new, whatever an archive makes of *limit*. Memory: one page, and a
    reference per instance. Nothing is asked for twice after an error.

    Args:
        study_uid: Study Instance UID.
        qido_url: The root of the DICOMweb service, e.g. ``https://archive.example/dicom-web``.
        series_uid: Series Instance UID, for the instances of this series alone.
        repository_unique_id: For RAD-69, given to every reference.
        home_community_id: For RAD-69, given to every reference.
        page_size: How many instances to ask for at once.
        timeout: How long to wait for each page; `Timeout`.
        connection: How to reach the archive, as for `AsyncRad69`: *auth*, *headers*, *verify*, *http_client*, ...

    Returns:
        The references; none where the archive knows no such study or series and says so by an empty answer.

    Raises:
        InvalidReferenceError, ValueError: An argument is malformed; nothing was sent.
        TransportError: The network failed.
        HTTPStatusRefused: Any status but 200 and 204; `AuthenticationError` and `ServerBusy` are kinds of it.
        QidoError: The answer is not DICOM JSON, or an instance in it lacks its UIDs, is of another study or series, or
            is in two series.
        LimitExceeded: A page is larger than 128 MiB.

    Source: PS3.18 8.3.4 (limit, offset), 10.6, F.2.
    """
    place = _Place(study_uid, series_uid)
    valid_addressing(repository_unique_id, home_community_id)
    if page_size < 1:
        raise ValueError(f"page_size is at least 1, not {page_size}")
    timeouts = Timeout() if timeout is None else timeout
    if not isinstance(timeouts, Timeout):
        raise TypeError(f"timeout is a Timeout, e.g. Timeout(idle_s=10); not {type(timeouts).__name__}")
    found: dict[str, InstanceReference] = {}
    offset, before = 0, -1
    async with Endpoint(_connection(qido_url, place, connection)) as endpoint:
        # An archive may give less than *limit* at once, or know of no pages at all and give the same again.
        while len(found) > before:
            before = len(found)
            rows = await _page(endpoint, {"limit": str(page_size), "offset": str(offset)}, timeouts)
            offset += len(rows)
            for uids in map(place.uids, rows):
                reference = InstanceReference(
                    *uids, repository_unique_id=repository_unique_id, home_community_id=home_community_id
                )
                if found.setdefault(reference.sop_instance_uid, reference) != reference:
                    raise QidoError("the archive's answer has one instance in two series")
    return tuple(found.values())


def _connection(qido_url: str, place: _Place, options: ConnectionOptions) -> Connection:
    if not qido_url.startswith(("http://", "https://")) or "?" in qido_url or "#" in qido_url:
        raise ValueError("qido_url is the root of the DICOMweb service, http:// or https://, without a query")
    url = f"{qido_url.rstrip('/')}/{place.path}"
    return Connection(**{**options, "url": url, "headers": dict(options.get("headers") or {})})  # type: ignore[arg-type]


async def _page(endpoint: Endpoint, query: dict[str, str], timeouts: Timeout) -> list[Any]:
    async def ask(proof: Proof) -> list[Any]:
        asking = endpoint.get({"includefield": _SERIES, **query}, accept=_JSON, timeouts=timeouts, token=proof.token)
        async with asking as (response, blocks):
            if response.status == 204:
                return []
            if response.status != 200:
                hint = _HINTS.get(response.status)
                raise status_error(response.status, retry_after_s=response.retry_after_s, hint=hint)
            return _rows(await _whole(response, blocks), response.content_type)

    return await endpoint.identity.show(ask)


async def _whole(response: Response, blocks: AsyncIterator[bytes]) -> bytes:
    decoder = content_decoder(response.content_encoding, max_inflation=_MAX_INFLATION)
    body = bytearray()
    async for block in blocks:
        for decoded in decoder.feed(block):
            body += decoded
            if len(body) > _MAX_PAGE:
                raise LimitExceeded(
                    f"a page of the archive's answer is larger than {_MAX_PAGE} bytes",
                    limit="page",
                    maximum=_MAX_PAGE,
                    hint="Ask for less at once: page_size=100.",
                )
    decoder.finish()
    return bytes(body)


def _rows(body: bytes, content_type: str) -> list[Any]:
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type and media_type not in _MEDIA_TYPES:
        raise QidoError(
            f"the archive's answer is {shown(media_type)}, not DICOM JSON",
            hint="Check qido_url, and the credentials: login pages look like this.",
        )
    if not body.strip():
        return []
    try:
        rows = json.loads(body)
    except (ValueError, RecursionError):
        raise QidoError("the archive's answer is not JSON, or is cut") from None
    if not isinstance(rows, list):
        raise QidoError("the archive's answer is not a list of instances (PS3.18 F.2)")
    return rows


class _Place:
    """The study or series that is asked about."""

    def __init__(self, study_uid: str, series_uid: str | None) -> None:
        self._study = valid_uid(study_uid, "study_uid")
        self._series = None if series_uid is None else valid_uid(series_uid, "series_uid")

    @property
    def path(self) -> str:
        """Of the resource, below the service's root (PS3.18 table 10.6.1-2)."""
        series = f"/series/{self._series}" if self._series else ""
        return f"studies/{self._study}{series}/instances"

    def uids(self, row: Any) -> tuple[str, str, str]:
        """
        Study, series and SOP Instance UID of one row. What the path says already, an archive may leave out.

        Raises:
            QidoError: One is missing or malformed, or the row is of another study or series.
        """
        study = _value(row, _STUDY) or self._study
        series = _value(row, _SERIES) or self._series
        if study != self._study or self._series not in {None, series}:
            raise QidoError("the archive answered with an instance of another study or series than asked for")
        try:
            return study, valid_uid(series, "SeriesInstanceUID"), valid_uid(_value(row, _INSTANCE), "SOPInstanceUID")
        except InvalidReferenceError as exc:
            raise QidoError(f"an instance of the archive's answer has no usable UID: {exc}") from None


def _value(row: Any, tag: str) -> str | None:
    """The first value of an attribute (PS3.18 F.2.2); ``None`` where it has none that is a text."""
    try:
        value = row[tag]["Value"][0]
    except (KeyError, IndexError, TypeError):
        return None
    return value.rstrip("\0 ") if isinstance(value, str) else None
