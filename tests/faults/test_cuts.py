"""A reply cut at every byte: never a cut instance, nothing lost, nothing twice, nothing wrong."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from asyncrad69 import ConnectionLost, Rad69Error, SoapError
from asyncrad69._soap_request import new_message_id

from .driver import AT_ONCE, FULL, ONCE, client, nothing_left, retrieve, server_context
from .server import Ending, Exchange, FaultServer, Framing, until_asked_again
from .wire import Reply, Study, Writing, simple_reply

if TYPE_CHECKING:
    from asyncrad69 import AsyncRad69

#: Five instances of 0.6 to 2 KB: every kind of byte of a reply, in as few bytes as that takes.
STUDY = Study.of(per_series=5, rows=7, columns=10)

#: In the slice, offsets lie so far apart; a prime, so that they fall everywhere in a part.
STRIDE = 499

WAYS: tuple[tuple[Ending, Framing, bool], ...] = (
    ("fin", "chunked", False),
    ("fin", "length", False),
    ("fin", "close", False),
    ("rst", "chunked", False),
    ("clean", "chunked", False),
    ("clean", "length", False),
    ("no close_notify", "close", True),
)


class _Cuts:
    """The server's side: each study it is asked for comes cut at the next offset, and whole when asked again."""

    def __init__(self, ending: Ending, framing: Framing) -> None:
        self.offset = 0
        self.proven: set[str] = set()
        self.ending = ending
        self._framing = framing

    def play(self, exchange: Exchange) -> None:
        reply = exchange.reply()
        self.proven = reply.proven(self.offset)
        exchange.send(reply, self._framing, cut=self.offset, ending=self.ending)


def _offsets() -> list[int]:
    """Where to cut: at every byte, or at a sample and around every boundary."""
    ends = _layout()
    if FULL:
        return list(range(ends[-1]))
    around = {end + delta for end in ends for delta in (-1, 0)}
    return sorted(offset for offset in around.union(range(0, ends[-1], STRIDE)) if 0 <= offset < ends[-1])


def _layout() -> list[int]:
    """Where the pieces of the reply meet; its MessageID has one length, so that this does not change."""
    seen: list[list[int]] = []

    def look(exchange: Exchange) -> None:
        reply = exchange.reply()
        seen.append(reply.boundaries())
        exchange.send(reply, "chunked")

    async def main() -> None:
        async with client(server) as rad69:
            await retrieve(rad69, STUDY)

    with FaultServer(STUDY, look) as server:
        asyncio.run(main())
    return seen[0]


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("ending", "framing", "tls"), WAYS, ids=lambda value: str(value).replace(" ", "_"))
def test_cut_at_every_byte(ending: Ending, framing: Framing, tls: bool) -> None:
    """Wherever a reply is cut: what it proved is delivered, no more; the retry brings the rest and only that."""
    offsets = _offsets() if ending != "no close_notify" or FULL else _offsets()[::5]
    with nothing_left():
        asyncio.run(_cut_everywhere(offsets, _Cuts(ending, framing), tls=tls))


async def _cut_everywhere(offsets: list[int], cuts: _Cuts, *, tls: bool) -> None:
    behaviour = until_asked_again(cuts.play)
    with FaultServer(STUDY, behaviour, ssl_context=server_context() if tls else None) as server:
        async with client(server, retry=AT_ONCE) as rad69:
            for cuts.offset in offsets:
                await _check_one_cut(rad69, server, cuts)


async def _check_one_cut(rad69: AsyncRad69, server: FaultServer, cuts: _Cuts) -> None:
    server.forget()
    once = await retrieve(rad69, STUDY, retry=ONCE)
    # What the kernel still held is lost with a reset.
    once.check(STUDY, cuts.proven & once.uids if cuts.ending == "rst" else cuts.proven)
    server.forget()
    whole = await retrieve(rad69, STUDY)
    whole.check(STUDY, STUDY.instances)
    if cuts.ending != "rst":
        asked = Counter(uid for request in server.requests for uid in request.wanted)
        assert all(asked[uid] == 1 for uid in cuts.proven), f"cut at {cuts.offset}: what had come was asked for again"


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("ending", "framing", "error"),
    [
        ("fin", "chunked", ConnectionLost),
        ("no close_notify", "length", ConnectionLost),
        ("no close_notify", "close", SoapError),
        ("clean", "chunked", SoapError),
    ],
    ids=lambda value: str(value).replace(" ", "_"),
)
def test_an_answer_in_xml_cut_at_every_byte(ending: Ending, framing: Framing, error: type[Rad69Error]) -> None:
    """Without multipart its root element is what says that all is there: cut anywhere, nothing is taken from it."""
    offset = 0

    def cut(exchange: Exchange) -> None:
        exchange.send(_in_xml(exchange), framing, cut=offset, ending=ending)

    def whole(exchange: Exchange) -> None:
        exchange.send(_in_xml(exchange), framing)

    async def main() -> None:
        nonlocal offset
        async with client(server, retry=AT_ONCE) as rad69:
            # From 1: an empty body is no XML, and has an error of its own.
            for offset in range(1, size, 1 if FULL else STRIDE):  # noqa: B007 - the server looks at it
                server.forget()
                once = await retrieve(rad69, STUDY, retry=ONCE)
                once.check(STUDY, ())
                assert {type(reason) for reason in once.reasons()} == {error}
                (await retrieve(rad69, STUDY)).check(STUDY, STUDY.instances)

    with nothing_left(), FaultServer(STUDY, until_asked_again(cut, whole), ssl_context=server_context()) as server:
        size = len(simple_reply(STUDY.instances.items(), Writing(relates_to=new_message_id())).body)
        asyncio.run(main())


def _in_xml(exchange: Exchange) -> Reply:
    instances = [(uid, exchange.study.instances[uid]) for uid in exchange.wanted]
    return simple_reply(instances, Writing(relates_to=exchange.message_id))
