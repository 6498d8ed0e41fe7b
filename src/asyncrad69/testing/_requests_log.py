"""What the source was asked, for a test to look at afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

Packaging: TypeAlias = Literal["mtom", "simple"]
Status: TypeAlias = Literal["Success", "PartialSuccess", "Failure", "Fault", "Refused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedRequest:
    """
    One POST to the endpoint and how it was answered.

    Attributes:
        status: The response status by its last word; ``"Fault"`` for a SOAP fault; ``"Refused"`` where HTTP
            alone said no (401, 413, 415, 503, or as planned).
        http_status: The HTTP status of the answer.
        packaging: MTOM or simple SOAP; ``None`` if neither.
        content_type: The Content-Type header as it came.
        headers: All HTTP headers, names in lower case. Not in the ``repr``, since they may hold credentials.
        action: wsa:Action as it came; ``None`` if there was none, or no envelope to hold it.
        message_id: wsa:MessageID; ``None`` in the same cases.
        sop_instance_uids: What was asked for, in order. Like the next three, empty if it ended in a fault.
        document_unique_ids: The same for ITI-43.
        repository_unique_ids: The repositories named, each once.
        transfer_syntaxes: TransferSyntaxUIDList, in order.
        faults: The kinds of the planned faults that fell on it.
    """

    status: Status
    http_status: int
    packaging: Packaging | None = None
    content_type: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    action: str | None = None
    message_id: str | None = None
    sop_instance_uids: tuple[str, ...] = ()
    document_unique_ids: tuple[str, ...] = ()
    repository_unique_ids: tuple[str, ...] = ()
    transfer_syntaxes: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
