"""What a type checker must know about the public interface; mypy reads this file, nothing runs it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import assert_type

from pydicom.dataset import FileDataset

from asyncrad69 import AsyncRad69, AsyncRetrieval, Instance, InstanceReference, Rad69, Rad69Error, Report, Retrieval


async def asynchronous(rad69: AsyncRad69, reference: InstanceReference) -> None:
    """The asynchronous client."""
    assert_type(rad69.datasets([reference]), AsyncGenerator[FileDataset, None])
    assert_type(rad69.instances(reference), "AsyncGenerator[Instance, None]")
    assert_type(rad69.retrieve([("1.2", "1.3", "1.4")], concurrency="auto", on_failure="report"), AsyncRetrieval)
    assert_type(await rad69.get_dataset(reference), FileDataset)
    assert_type(await rad69.download([reference], "out", existing="verify"), Report)
    async with rad69 as entered, entered.retrieve(reference) as retrieval:
        assert_type(entered, AsyncRad69)
        async for instance in retrieval:
            assert_type(instance, Instance)
            assert_type(instance.data, bytes)
        assert_type(retrieval.report, Report)


def blocking(rad69: Rad69, reference: InstanceReference) -> None:
    """The blocking client."""
    assert_type(rad69.datasets([reference]), Generator[FileDataset, None, None])
    assert_type(rad69.instances(reference), "Generator[Instance, None, None]")
    assert_type(rad69.get_dataset(reference), FileDataset)
    assert_type(rad69.download([reference], "out"), Report)
    with rad69 as entered, entered.retrieve(reference) as retrieval:
        assert_type(retrieval, Retrieval)
        for instance in retrieval:
            assert_type(instance.reference, InstanceReference)


def wrong_options(rad69: Rad69, reference: InstanceReference) -> None:
    """What a type checker refuses."""
    rad69.retrieve(reference, on_failure="raise")  # type: ignore[arg-type]
    rad69.retrieve(reference, concurrently=3)  # type: ignore[call-arg]


def columns(report: Report) -> Rad69Error | None:
    """A row's error."""
    return report.missing[0].error
