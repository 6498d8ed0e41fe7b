"""The other transactions, at servers that know RAD-69 only: RAD-75 by its body, and a typed no to ITI-43."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asyncrad69 import AsyncRad69, DocumentReference, SoapFault

from .peers import REPOSITORY

if TYPE_CHECKING:
    from .peers import Archive, Peer

pytestmark = pytest.mark.anyio

HOME = "urn:oid:1.2.3.4"
DOCUMENT = DocumentReference(repository_unique_id=REPOSITORY, document_unique_id="1.2.3")


async def test_rad_75_at_gsoap(gsoap: Peer, tiny: Archive) -> None:
    """gSOAP goes by the body, which is RAD-69's: everything comes, byte for byte."""
    async with AsyncRad69(gsoap.url(), transaction="RAD-75", home_community_id=HOME) as rad69:
        got = {each.reference.sop_instance_uid: each.data async for each in rad69.instances(tiny.references)}
    assert len(got) == len(tiny.references)
    for uid, data in got.items():
        tiny.verify(uid, data)


async def test_rad_75_at_jaxws(jaxws: Peer, tiny: Archive) -> None:
    """Metro goes by the action, and says that it does not know it."""
    async with AsyncRad69(jaxws.url(), transaction="RAD-75", home_community_id=HOME) as rad69:
        with pytest.raises(SoapFault) as caught:
            await rad69.get_dataset(tiny.references[0])
    assert "ActionNotSupported" in caught.value.subcodes


async def test_iti_43_where_there_is_none(jaxws: Peer, gsoap: Peer) -> None:
    """An imaging source that is no document repository: its fault, typed."""
    for peer in (jaxws, gsoap):
        async with AsyncRad69(peer.url()) as rad69:
            with pytest.raises(SoapFault):
                await rad69.retrieve_manifest(DOCUMENT)
