"""Files that name instances, planned: line by line, and what is wrong with a line does not spoil the others."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final, TypeAlias

from asyncrad69._errors import InvalidReferenceError, StorageError
from asyncrad69._kos import references_from_kos
from asyncrad69._reference_files import read_table
from asyncrad69._references import InstanceReference

from ._words import Rejected

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from ._store import Store
    from ._words import Shard

_IN_ONE_TRANSACTION: Final = 10_000

#: Where something stands, and the instance that it names or what is wrong with it.
Line: TypeAlias = tuple[int | None, InstanceReference | InvalidReferenceError]


def plan_file(store: Store, path: Path, shard: Shard | None, *, rejected: bool) -> None:
    """
    Plan what a manifest, a rejection note only where *rejected*, or a table names, as far as it is in *shard*.

    Raises:
        StorageError: The file cannot be read.
    """
    try:
        lines = _lines(path, rejected=rejected)
        while some := list(islice(lines, _IN_ONE_TRANSACTION)):
            store.reject(list(_planned(store, path.name, some, shard)))
    except InvalidReferenceError as exc:
        store.reject([Rejected(file=path.name, line=None, reason=str(exc))])
    except OSError as exc:
        raise StorageError(f"{path.name} cannot be read: {exc.strerror}") from exc


def _lines(path: Path, *, rejected: bool) -> Iterator[Line]:
    if _is_dicom(path):
        return ((None, reference) for reference in references_from_kos(path, rejected=rejected))
    return read_table(path)


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"  # PS3.10 7.1


def _planned(store: Store, file: str, lines: Iterable[Line], shard: Shard | None) -> Iterator[Rejected]:
    named: list[tuple[int | None, InstanceReference]] = []
    for number, found in lines:
        if isinstance(found, InvalidReferenceError):
            yield Rejected(file=file, line=number, reason=str(found))
        elif shard is None or shard.has(found.study_instance_uid):
            named.append((number, found))
    results = store.add(reference for _, reference in named)
    for (number, _), result in zip(named, results, strict=True):
        if result == "contradicting":
            yield Rejected(file=file, line=number, reason="the instance is named before, in another study or series")
