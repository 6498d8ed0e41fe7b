"""
Hand over whole series, each as soon as its last instance has come, while others are still on their way.

    python examples/series_at_once.py URL TABLE
"""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict
from typing import TYPE_CHECKING

from asyncrad69 import AsyncRad69, InstanceReference, references_from_table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pydicom import Dataset


async def whole_series(
    rad69: AsyncRad69, references: tuple[InstanceReference, ...]
) -> AsyncIterator[tuple[str, list[Dataset]]]:
    """Series Instance UID and datasets, by instance number."""
    missing = defaultdict(set)
    for reference in references:
        missing[reference.series_instance_uid].add(reference.sop_instance_uid)
    arrived = defaultdict(list)
    async with rad69.retrieve(references) as retrieval:
        async for instance in retrieval:
            uid = instance.reference.series_instance_uid
            arrived[uid].append(instance.dataset)
            missing[uid].discard(instance.reference.sop_instance_uid)
            if not missing[uid]:
                yield uid, sorted(arrived.pop(uid), key=lambda dataset: int(dataset.get("InstanceNumber") or 0))


async def main(url: str, table: str) -> None:
    """Print a line per series."""
    async with AsyncRad69(url) as rad69:
        async for uid, datasets in whole_series(rad69, references_from_table(table)):
            print(uid, len(datasets), datasets[0].get("Modality"))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
