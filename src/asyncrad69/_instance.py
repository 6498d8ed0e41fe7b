"""What a retrieve hands over."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from ._dataset import DatasetReader
from ._dicom import Dataset, read_dataset
from ._limits import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from mmap import mmap

    from ._errors import InvalidInstanceError
    from ._references import InstanceReference


class Content(Protocol):
    """The bytes of an instance, wherever they are."""

    @property
    def size_bytes(self) -> int:
        """Their number."""

    @property
    def data(self) -> bytes:
        """All of them."""

    def chunks(self, size_bytes: int) -> Iterator[bytes | memoryview]:
        """All of them, in order and in pieces of *size_bytes*."""

    def view(self) -> AbstractContextManager[bytes | mmap]:
        """All of them, to be looked at here and there."""

    def close(self) -> None:
        """Give them up."""


@dataclass(frozen=True, kw_only=True)
class Instance:
    """
    One instance, whole and verified.

    Attributes:
        reference: The reference it answers.
        transfer_syntax_uid: Its transfer syntax, which may not be one that was asked for.
        error: Why it is not whole; only with ``invalid_instances="deliver"``, else ``None``.
    """

    reference: InstanceReference
    content: Content = field(repr=False)
    transfer_syntax_uid: str
    error: InvalidInstanceError | None = None
    reader: DatasetReader = field(default_factory=DatasetReader, repr=False, compare=False)

    @property
    def size_bytes(self) -> int:
        """Its size."""
        return self.content.size_bytes

    @property
    def data(self) -> bytes:
        """The bytes exactly as the source sent them: a DICOM file (PS3.10). One that was spooled is read anew."""
        return self.content.data

    def chunks(self, size_bytes: int = MIB) -> Iterator[bytes | memoryview]:
        """
        `data` in order, in pieces of *size_bytes* and a shorter last one.

        With ``spool_bytes`` set an instance of any size passes through a few MiB of memory this way.
        """
        return self.content.chunks(size_bytes)

    @cached_property
    def dataset(self) -> Dataset:
        """
        The pydicom Dataset, parsed at first access and kept.

        Raises:
            InvalidInstanceError: pydicom cannot read it.
        """
        return read_dataset(self.data, self.reader, force=self.error is not None)
