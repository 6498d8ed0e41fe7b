"""Instances to files: where each one goes, and how it gets there whole or not at all."""

from __future__ import annotations

import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

from ._errors import StorageError
from ._references import InstanceReference

_LAYOUT = "{StudyInstanceUID}/{SeriesInstanceUID}/{SOPInstanceUID}.dcm"
_FIELDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


class PathTemplate:
    """
    Where instances are written.

    Args:
        target: A folder, which gets ``{StudyInstanceUID}/{SeriesInstanceUID}/{SOPInstanceUID}.dcm`` below it, or a
            path with these fields in braces. ``{SOPInstanceUID}`` must be one of them, so that no two instances
            share a name.

    Raises:
        ValueError: Another field, or none that tells instances apart.
    """

    def __init__(self, target: str | os.PathLike[str]) -> None:
        text = os.fspath(target)
        fields = set(_PLACEHOLDER.findall(text))
        if unknown := fields.difference(_FIELDS):
            raise ValueError(f"{{{min(unknown)}}} is not a field of a path: use {', '.join(_FIELDS)}")
        if fields and "SOPInstanceUID" not in fields:
            raise ValueError("a path with fields needs {SOPInstanceUID}, or instances would share names")
        self._text = text if fields else str(Path(text, _LAYOUT))

    def path(self, reference: InstanceReference) -> Path:
        """The file for *reference*. Only UIDs that were asked for, and so validated, become part of a path."""
        values = (reference.study_instance_uid, reference.series_instance_uid, reference.sop_instance_uid)
        by_field = dict(zip(_FIELDS, values, strict=True))
        return Path(_PLACEHOLDER.sub(lambda match: by_field[match[1]], self._text))


def write_instance(path: Path, data: bytes) -> Path:
    """
    Write *data* to *path*: the name appears with the whole of it, or not at all.

    A file that is there with the same bytes is left alone, one with other bytes is never overwritten.

    Raises:
        StorageError: It cannot be written, or another file has its name.
    """
    temporary = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            file.write(data)
        _publish(temporary, path)
    except FileExistsError:
        if path.read_bytes() != data:
            raise StorageError(
                f"{path.name} is there already, with other content", hint="Choose another target, or move it away."
            ) from None
    except OSError as exc:
        raise StorageError(f"{path.name} cannot be written: {exc.strerror}") from exc
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    return path


def _publish(temporary: Path, path: Path) -> None:
    """Give the file its name, unless that is taken."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:
        # SMB, exFAT and some NFS have no links. Two processes on one tree could then overwrite each other's equal file.
        if path.exists():
            raise FileExistsError(path) from None
        temporary.rename(path)
