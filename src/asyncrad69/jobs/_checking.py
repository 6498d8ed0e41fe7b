"""What is on the disk, held against what a job says of it."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from itertools import chain, count
from typing import TYPE_CHECKING, Literal, TypeAlias

from asyncrad69._errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ._store import Store
    from ._words import JobRow

#: What is wrong with a file: it is not there, it has other content, or it cannot be read.
Flaw: TypeAlias = Literal["gone", "changed", "unreadable"]


@dataclass(frozen=True, slots=True)
class Checked:
    """A file that was looked at; *flaw* is ``None`` where it has the bytes that were written."""

    row: JobRow
    flaw: Flaw | None


def check(store: Store) -> Iterator[Checked]:
    """Hash every file of *store*, in its order."""
    for row in store.rows(("done",)):
        yield Checked(row, _flaw(row))


def ask_again(store: Store, found: list[Checked]) -> None:
    """
    Let the next run ask for what is gone or changed. A changed file stays beside it, as ``NAME.changed``, or as
    ``NAME.changed.2`` and so on where there is one already.

    Raises:
        StorageError: A file cannot be renamed.
    """
    for each in found:
        if each.flaw == "changed" and (path := each.row.path) is not None:
            try:
                path.rename(_free_name(path))
            except OSError as exc:
                raise StorageError(f"{path.name} cannot be renamed: {exc.strerror}") from exc
    store.forget_files(each.row.reference for each in found if each.flaw in {"gone", "changed"})


def _free_name(path: Path) -> Path:
    first = f"{path.name}.changed"
    names = chain((first,), (f"{first}.{number}" for number in count(2)))
    return next(each for each in map(path.with_name, names) if not os.path.lexists(each))


def _flaw(row: JobRow) -> Flaw | None:
    if row.path is None:
        return "gone"
    try:
        with row.path.open("rb") as file:
            same = hashlib.file_digest(file, "sha256").hexdigest() == row.sha256
    except (FileNotFoundError, NotADirectoryError):
        return "gone"
    except OSError:
        return "unreadable"
    return None if same else "changed"
