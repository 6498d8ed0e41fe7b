"""
What a team needs to test its own RAD-69 integration: a source with instances, at a real URL.

    with SimulatedSource.demo() as source:
        retrieve(source.url, source.references())

Needs ``pip install "asyncrad69[server]"``.
"""

from ._faults import Fault, FaultPlanError
from ._kos import kos_bytes, write_kos
from ._requests_log import ReceivedRequest
from ._source import SimulatedSource

__all__ = ["Fault", "FaultPlanError", "ReceivedRequest", "SimulatedSource", "kos_bytes", "write_kos"]
