"""Where instances are written: path templates, and names that appear with the whole of a file or not at all."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ._errors import ExistingFileError, StorageError

if TYPE_CHECKING:
    from ._references import InstanceReference

_LAYOUT = "{StudyInstanceUID}/{SeriesInstanceUID}/{SOPInstanceUID}.dcm"
_FIELDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_COMPARED_AT_ONCE = 1024 * 1024


class PathTemplate:
    """
    Where instances are written.

    Args:
        target: A folder, which gets ``{StudyInstanceUID}/{SeriesInstanceUID}/{SOPInstanceUID}.dcm`` below it, or a
            path with these fields in braces. ``{SOPInstanceUID}`` must be one of them, so that no two instances
            share a name.

    Attributes:
        root: The folder that everything is written below.

    Raises:
        ValueError: Nothing, a brace without its partner, another field, or none that tells instances apart.
    """

    def __init__(self, target: str | os.PathLike[str]) -> None:
        text = os.fspath(target)
        if not text:
            raise ValueError("the target is empty: name a folder, '.' for the current one")
        if set("{}").intersection(_PLACEHOLDER.sub("", text)):
            raise ValueError("a brace of the path has no partner: a field is written {SOPInstanceUID}")
        fields = set(_PLACEHOLDER.findall(text))
        if unknown := fields.difference(_FIELDS):
            raise ValueError(f"{{{min(unknown)}}} is not a field of a path: use {', '.join(_FIELDS)}")
        if fields and "SOPInstanceUID" not in fields:
            raise ValueError("a path with fields needs {SOPInstanceUID}, or instances would share names")
        layout = text if fields else str(Path(text, _LAYOUT))
        self.root = next(parent for parent in Path(layout).parents if not _PLACEHOLDER.search(str(parent)))
        self._pieces = _PLACEHOLDER.split(layout)  # every other one is the name of a field

    def path(self, reference: InstanceReference) -> Path:
        """The file for *reference*. Only UIDs that were asked for, and so validated, become part of a path."""
        values = (reference.study_instance_uid, reference.series_instance_uid, reference.sop_instance_uid)
        by_field = dict(zip(_FIELDS, values, strict=True))
        pieces = self._pieces.copy()
        pieces[1::2] = [by_field[field] for field in pieces[1::2]]
        return Path("".join(pieces))


def make_folder(folder: Path, root: Path) -> None:
    """
    Make *folder* and what is missing between it and *root*.

    Raises:
        StorageError: Something below *root* is a symbolic link: it may lead out of it.
    """
    below = [folder, *folder.parents][: len(folder.parts) - len(root.parts)]
    if link := next((each for each in below if each.is_symlink()), None):
        raise StorageError(f"{link.name} is a symbolic link, and nothing is written through one")
    folder.mkdir(parents=True, exist_ok=True)


def publish(temporary: str, path: Path, *, overwrite: bool) -> None:
    """
    Give the file *temporary* the name *path* too. A file that has it, with the same bytes, is left alone.

    Raises:
        ExistingFileError: A file with other bytes has it, and *overwrite* is off.
    """
    if overwrite:
        Path(temporary).replace(path)
        return
    try:
        _link(temporary, path)
    except FileExistsError:
        if path.is_symlink() or not _same_bytes(Path(temporary), path):
            raise ExistingFileError(f"{path.name} is there already, with other content") from None


def _link(temporary: str, path: Path) -> None:
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:
        # SMB, exFAT and some NFS have no links. Two processes on one tree could then overwrite each other's equal file.
        if path.exists():
            raise FileExistsError(path) from None
        Path(temporary).rename(path)


def _same_bytes(one: Path, other: Path) -> bool:
    if one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as first, other.open("rb") as second:
        while block := first.read(_COMPARED_AT_ONCE):
            if block != second.read(_COMPARED_AT_ONCE):
                return False
    return True
