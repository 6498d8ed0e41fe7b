"""What a retrieve hands over."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from ._dicom import Dataset, read_dataset
from ._errors import InvalidInstanceError
from ._references import InstanceReference


@dataclass(frozen=True, kw_only=True)
class Instance:
    """
    One instance, whole and verified.

    Attributes:
        reference: The reference it answers.
        data: The bytes exactly as the source sent them: a DICOM file (PS3.10).
        transfer_syntax_uid: Its transfer syntax, which may not be one that was asked for.
        error: Why it is not whole; only with ``invalid_instances="deliver"``, else ``None``.
    """

    reference: InstanceReference
    data: bytes = field(repr=False)
    transfer_syntax_uid: str
    error: InvalidInstanceError | None = None

    @cached_property
    def dataset(self) -> Dataset:
        """
        The pydicom Dataset, parsed at first access and kept.

        Raises:
            InvalidInstanceError: pydicom cannot read it.
        """
        return read_dataset(self.data, force=self.error is not None)
