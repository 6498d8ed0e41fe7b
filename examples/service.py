"""
A service's function: all datasets of a request within a time limit, or what there is and why the rest is not.

    python examples/service.py URL TABLE
"""

from __future__ import annotations

import asyncio
import sys

from asyncrad69 import AsyncRad69, InstanceReference, Report, references_from_table


async def rows_and_columns(
    rad69: AsyncRad69, references: tuple[InstanceReference, ...], seconds: float
) -> tuple[set[tuple[int, int]], Report]:
    """The image sizes that occur in *references*."""
    sizes = set()
    async with rad69.retrieve(references, on_failure="report") as retrieval:
        try:
            async with asyncio.timeout(seconds):
                async for instance in retrieval:
                    sizes.add((instance.dataset.get("Rows", 0), instance.dataset.get("Columns", 0)))
        except TimeoutError:
            pass  # the report says what is missing
    return sizes, retrieval.report


async def main(url: str, table: str) -> None:
    """Open a client as a service does, once, and use it."""
    async with AsyncRad69(url) as rad69:
        sizes, report = await rows_and_columns(rad69, references_from_table(table), seconds=30)
    print(sorted(sizes))
    print(report)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
