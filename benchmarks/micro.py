"""Single functions, for regressions: what an instance and a request cost before any network."""

from __future__ import annotations

import timeit
from functools import cache
from io import BytesIO
from typing import Final

from pydicom import dcmread

from asyncrad69 import AS_STORED, InstanceReference
from asyncrad69._likeness import Likeness
from asyncrad69._limits import Limits
from asyncrad69._multipart import MultipartDecoder
from asyncrad69._soap_request import RetrieveImagingDocumentSet, mtom_body, new_message_id
from asyncrad69._walk import examine

from .cases import CT, KIB, SMALL
from .report import markdown
from .source import BOUNDARY, part_head
from .workloads import REPOSITORY

_FEEDS: Final = (4 * KIB, 8 * KIB, 64 * KIB, 256 * KIB, 1024 * KIB)
_PARTS: Final = 40
_REPEATS: Final = 5


def micro() -> dict[str, float]:
    """Each figure by its name, with its unit; the best of some repeats."""
    body = _multipart_body()
    data = CT.instance(CT.uids[0])
    references = [InstanceReference(*each, repository_unique_id=REPOSITORY) for each in SMALL.references]
    figures = {
        f"decoder, fed {size // KIB} KiB at a time, MB/s": len(body)
        / _best_s(lambda size=size: _decode(body, size))
        / 1e6
        for size in _FEEDS
    }
    figures["examine, 110 elements, alone, us"] = 1e6 * _best_s(lambda: examine(data), 200)
    figures["examine, 110 elements, in a series, us"] = 1e6 * _best_s(_examined_series, 5) / _PARTS
    figures["dcmread, 110 elements and 512 KiB of pixels, us"] = 1e6 * _best_s(lambda: dcmread(BytesIO(data)), 100)
    figures["request for 1 instance, us"] = 1e6 * _best_s(lambda: _request(references[:1]), 100)
    figures["request for 2000 instances, us"] = 1e6 * _best_s(lambda: _request(references))
    return figures


def micro_table(figures: dict[str, float]) -> str:
    """As a Markdown table."""
    return markdown(("what", "best"), [[name, f"{value:.1f}"] for name, value in figures.items()])


def _best_s(run: object, number: int = 1) -> float:
    assert callable(run)
    return min(timeit.repeat(run, number=number, repeat=_REPEATS)) / number


def _examined_series() -> None:
    likeness = Likeness()
    for data in _series():
        examine(data, likeness=likeness)


@cache
def _series() -> list[bytes]:
    return [CT.instance(uid) for uid in CT.uids[:_PARTS]]


def _multipart_body() -> bytes:
    parts = [
        part_head(b"application/dicom", uid.encode()) + data for uid, data in zip(CT.uids, _series(), strict=False)
    ]
    return b"".join(parts)[2:] + f"\r\n--{BOUNDARY}--\r\n".encode()


def _decode(body: bytes, size: int) -> None:
    decoder = MultipartDecoder(BOUNDARY, Limits().of_reply(_PARTS))
    for start in range(0, len(body), size):
        for _ in decoder.feed(body[start : start + size]):
            pass
    decoder.finish()


def _request(references: list[InstanceReference]) -> bytes:
    message_id = new_message_id()
    question = RetrieveImagingDocumentSet(references=tuple(references), transfer_syntaxes=AS_STORED)
    return mtom_body(question.xml(message_id=message_id, to="http://localhost/"), question.action)[1]
