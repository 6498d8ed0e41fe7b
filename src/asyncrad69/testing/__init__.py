"""
What a team needs to test its own RAD-69 integration: a source with instances, at a real URL.

    with SimulatedSource.demo() as source:
        retrieve(source.url, source.references())

Needs ``pip install "asyncrad69[server]"``.
"""

from typing import TYPE_CHECKING

from asyncrad69._lazy import imported_later

from ._faults import Fault, FaultPlanError
from ._requests_log import ReceivedRequest

if TYPE_CHECKING:
    from ._kos import kos_bytes, write_kos
    from ._source import SimulatedSource
else:
    __getattr__, __dir__ = imported_later(
        __name__, {"_kos": ("kos_bytes", "write_kos"), "_source": ("SimulatedSource",)}
    )

__all__ = ["Fault", "FaultPlanError", "ReceivedRequest", "SimulatedSource", "kos_bytes", "write_kos"]
