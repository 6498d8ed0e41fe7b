"""What is fuzzed: every reader of bytes that come from outside, and the errors it may answer with."""

from __future__ import annotations

import tempfile
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from asyncrad69 import InvalidReferenceError, Rad69Error, references_from_kos, references_from_table
from asyncrad69._content_encoding import content_decoder
from asyncrad69._dataset import DatasetReader
from asyncrad69._dicom import read_dataset
from asyncrad69._limits import Limits
from asyncrad69._multipart import MultipartDecoder, Segment, content_type
from asyncrad69._reply import Reply
from asyncrad69._soap import read_manifest
from asyncrad69._walk import examine

from . import seeds
from .inputs import Grammar, pieces

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator


@dataclass(frozen=True)
class Target:
    """
    One reader.

    Attributes:
        name: The corpus's files begin with it.
        grammar: What it is fed.
        run: Feeds it, and compares what must not differ. Raises nothing for any input.
        share: Executions, relative to the others: slow ones get fewer.
    """

    name: str
    grammar: Grammar
    run: Callable[[bytes, random.Random], None]
    share: float = 1.0


_LIMITS = Limits(
    max_root=20_000,
    max_fault=10_000,
    max_xml_depth=20,
    max_part=20_000,
    max_preamble=200,
    max_header_line=200,
    max_header_count=8,
    max_headers=400,
    max_parts=6,
    max_boundary=100,
)

Outcome = tuple[list[tuple[object, bytes]], type[BaseException] | None]


def _multipart(data: bytes, chance: random.Random) -> None:
    """RFC 2046 decoding: the same parts, and the same class of error, however the bytes are cut."""
    boundary = chance.choice((None, "B", "B", "B"))
    whole = _decoded([data], boundary)
    for chunks in (pieces(data, chance), [data[index : index + 1] for index in range(min(len(data), 400))]):
        if b"".join(chunks) == data:
            again = _decoded(chunks, boundary)
            assert again[1] == whole[1], f"{again[1]} instead of {whole[1]}"
            assert again[0] == whole[0]


def _decoded(chunks: list[bytes], boundary: str | None) -> Outcome:
    parts: list[tuple[object, bytes]] = []
    complete: list[tuple[object, bytes]] = []
    try:
        decoder = MultipartDecoder(boundary, _LIMITS)
        for chunk in chunks:
            for event in decoder.feed(chunk):
                if isinstance(event, Segment):
                    parts.append((tuple(event.headerlist), b""))
                elif event is None:
                    complete.append(parts[-1])
                else:
                    head, body = parts[-1]
                    parts[-1] = (head, body + bytes(event))
        decoder.finish()
    except Rad69Error as exc:
        return complete, type(exc)
    return complete, None


def _content_type(data: bytes, chance: random.Random) -> None:
    """A Content-Type header, as it comes from the HTTP library: any Latin-1 text."""
    media_type, parameters = content_type(data.decode("latin-1"))
    assert isinstance(media_type, str)
    assert all(isinstance(value, str) for value in (*parameters, *parameters.values()))


def _reply(data: bytes, chance: random.Random) -> None:
    """A whole reply, its Content-Type on the first line."""
    head, _, body = data.partition(b"\n")
    try:
        reply = Reply(
            http_status=chance.choice((200, 500)), content_type=head.strip().decode("latin-1"), limits=_LIMITS
        )
        for chunk in pieces(body, chance):
            for _event in reply.feed(chunk):
                pass
        for _event in reply.finish():
            pass
    except Rad69Error:
        return
    assert reply.manifest is not None


def _root(data: bytes, chance: random.Random) -> None:
    """The root part of a reply."""
    try:
        manifest = read_manifest(data, charset=chance.choice((None, "utf-8", "iso-8859-1", "klingon")))
    except Rad69Error:
        return
    assert isinstance(manifest.status, str)


# What is known of earlier documents, until there is no room for more.
_READERS = [DatasetReader() for _ in range(8)]


def _dicom(data: bytes, chance: random.Random) -> None:
    """The walk over a document, which says the same whatever came before, and raises nothing; now and then pydicom."""
    reader = _READERS[chance.randrange(len(_READERS))]
    facts = examine(data)
    assert facts.flaw is None or facts.flaw
    assert examine(data, likeness=reader.likeness) == facts
    if chance.random() < 0.05:
        try:
            read_dataset(data, reader, force=chance.random() < 0.5)
        except Rad69Error:
            return


def _gzip(data: bytes, chance: random.Random) -> None:
    """A compressed body."""
    try:
        decoder = content_decoder(chance.choice(("gzip", "deflate", "x-gzip", "")), max_inflation=20)
        for chunk in pieces(data, chance):
            for _inflated in decoder.feed(chunk):
                pass
        decoder.finish()
    except Rad69Error:
        return


def _table(data: bytes, chance: random.Random) -> None:
    """A list of instances."""
    with _file(data) as path:
        try:
            assert references_from_table(path)
        except InvalidReferenceError:
            return


def _kos(data: bytes, chance: random.Random) -> None:
    """A manifest file."""
    with _file(data) as path:
        try:
            assert references_from_kos(path)
        except InvalidReferenceError:
            return


@contextmanager
def _file(data: bytes) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "input")
        path.write_bytes(data)
        yield path


#: Executions that ended as declared, by target.
EXECUTED: Counter[str] = Counter()

TARGETS = (
    Target("multipart", seeds.MULTIPART, _multipart, share=2),
    Target("content-type", seeds.CONTENT_TYPE, _content_type),
    Target("reply", seeds.REPLY, _reply, share=2),
    Target("root", seeds.ROOT, _root, share=2),
    Target("dicom", seeds.DICOM, _dicom, share=2),
    Target("gzip", seeds.GZIP, _gzip, share=0.5),
    Target("table", seeds.TABLE, _table, share=0.5),
    Target("kos", seeds.KOS, _kos, share=0.2),
)


def corpus() -> list[Path]:
    """Inputs that a reader once answered wrongly, named after it."""
    return sorted(Path(__file__).with_name("corpus").glob("*.bin"))
