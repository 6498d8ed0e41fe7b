"""HTTP responses: what they are made of, and how they go out."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ._answer import fault_message
from ._fault_plan import interrupted
from ._request import Refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from ._answer import Answer
    from ._fault_plan import Drawn
    from ._faults import Fault
    from ._profiles import Profile
    from ._requests_log import Status
    from ._settings import Settings

_LOGIN_PAGE: Final = (
    b"<!DOCTYPE html><html><head><title>Sign in</title></head><body><form method='post'>"
    b"<input name='user'><input name='password' type='password'></form></body></html>"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """
    An HTTP response.

    Attributes:
        http_status: Its status.
        headers: Its headers, as ASGI wants them. Without a Content-Length it is sent in chunked coding.
        body: Its body, in chunks; a fault stands where it falls.
        reads_files: Whether the next chunk may block.
        delay_s: How long it waits before its first byte.
        resets: Whether the connection is reset in place of it all.
    """

    http_status: int
    headers: list[tuple[bytes, bytes]]
    body: Iterator[bytes | Fault]
    reads_files: bool = False
    delay_s: float = 0.0
    resets: bool = False


# --- made of


def answer_reply(answer: Answer, settings: Settings, drawn: Drawn) -> Reply:
    """An answer, with the faults that fall in its bytes."""
    length = [(b"content-length", str(answer.size).encode())] if settings.framing == "length" else []
    middle = answer.size // 2
    faults = [
        (middle if fault.after_bytes is None else fault.after_bytes, fault)
        for fault in drawn.of_kind("cut", "reset", "stall")
        if fault.kind == "cut" or fault.after_bytes is not None
    ]
    return Reply(
        http_status=200,
        headers=[(b"content-type", answer.content_type.encode()), *length],
        body=interrupted(answer.chunks(), faults),
        reads_files=answer.reads_files,
        delay_s=sum(fault.seconds or 0 for fault in drawn.of_kind("stall") if fault.after_bytes is None),
        resets=any(fault.after_bytes is None for fault in drawn.of_kind("reset")),
    )


def instead(drawn: Drawn, profile: Profile, relates_to: str | None) -> tuple[Status, Reply] | None:
    """What a fault puts in the place of an answer, if one does: the first in the plan."""
    for fault in drawn.of_kind("status", "fault", "html_login"):
        if fault.kind == "status":
            return "Refused", _status(fault)
        if fault.kind == "html_login":
            return "Refused", _whole(200, "text/html; charset=utf-8", _LOGIN_PAGE)
        return "Fault", fault_reply(_refusal(fault.code or ""), profile, relates_to)
    return None


def _status(fault: Fault) -> Reply:
    seconds = fault.retry_after_s
    # RFC 9110 10.2.3: whole seconds.
    retry_after = [] if seconds is None else [(b"retry-after", str(math.ceil(seconds)).encode())]
    return text_reply(fault.http_status or 500, "planned", *retry_after)


def _refusal(code: str) -> Refusal:
    if code in {"Receiver", "Sender"}:
        return Refusal("planned", code="Sender" if code == "Sender" else "Receiver")
    return Refusal("planned", subcodes=(code,))


def fault_reply(refusal: Refusal, profile: Profile, relates_to: str | None) -> Reply:
    """A SOAP fault."""
    return _whole(*fault_message(refusal, profile, relates_to=relates_to))


def text_reply(http_status: int, text: str, *headers: tuple[bytes, bytes]) -> Reply:
    """A line of text."""
    return _whole(http_status, "text/plain; charset=utf-8", f"{text}\n".encode(), *headers)


def _whole(http_status: int, content_type: str, body: bytes, *headers: tuple[bytes, bytes]) -> Reply:
    length = (b"content-length", str(len(body)).encode())
    return Reply(
        http_status=http_status,
        headers=[(b"content-type", content_type.encode()), length, *headers],
        body=iter((body,)),
    )


# --- sent


async def send_reply(
    reply: Reply,
    scope: Mapping[str, Any],
    send: Callable[[dict[str, object]], Awaitable[None]],
    *,
    bytes_per_s: float | None = None,
) -> None:
    """
    Send it, no faster than that.

    Where the connection is closed below HTTP, this waits to be cancelled, as is who has lost its client.
    """
    await asyncio.sleep(reply.delay_s)
    if reply.resets:
        await _hang_up(scope, reset=True)
    await send({"type": "http.response.start", "status": reply.http_status, "headers": reply.headers})
    pull = partial(next, reply.body, b"")
    while step := (await asyncio.to_thread(pull) if reply.reads_files else pull()):
        if isinstance(step, bytes):
            if bytes_per_s:
                await asyncio.sleep(len(step) / bytes_per_s)
            await send({"type": "http.response.body", "body": step, "more_body": True})
        elif step.kind == "stall":
            await asyncio.sleep(step.seconds or 0)
        elif step.kind == "reset" or _has_length(reply):
            await _hang_up(scope, reset=step.kind == "reset")
        else:
            break
    await send({"type": "http.response.body"})


def _has_length(reply: Reply) -> bool:
    return any(name == b"content-length" for name, _ in reply.headers)


async def _hang_up(scope: Mapping[str, Any], *, reset: bool) -> None:
    scope["hang_up"](reset=reset)
    await asyncio.Event().wait()
