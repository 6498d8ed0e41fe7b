"""Orthanc: expand gives every instance of what it holds, in every size of page."""

from __future__ import annotations

import json
from time import sleep
from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest

from asyncrad69 import expand, expand_blocking

from .peers import REPOSITORY, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .peers import Archive

pytestmark = pytest.mark.anyio


def wait_until_it_holds(instances: int, statistics_url: str) -> None:
    """Return when it does; it is filled while it listens."""
    for _ in range(300):
        with urlopen(statistics_url) as reply:
            if json.load(reply)["CountInstances"] == instances:
                return
        sleep(0.1)
    raise TimeoutError("Orthanc was not filled")


@pytest.fixture(scope="session")
def dicomweb(tiny: Archive) -> Iterator[str]:
    """The root of Orthanc's DICOMweb service, with the tiny archive."""
    with running("orthanc", tiny) as peer:
        wait_until_it_holds(len(tiny.references), peer.url("/statistics"))
        yield peer.url("/dicom-web")


@pytest.mark.parametrize("page_size", [1, 2, 4, 1000])
async def test_a_study(dicomweb: str, tiny: Archive, page_size: int) -> None:
    """Each instance of each study, once."""
    found = [
        reference
        for study in {each.study_instance_uid for each in tiny.references}
        for reference in await expand(study, qido_url=dicomweb, repository_unique_id=REPOSITORY, page_size=page_size)
    ]
    assert len(found) == len(tiny.references)
    assert set(found) == set(tiny.references)


async def test_a_series(dicomweb: str, tiny: Archive) -> None:
    """Each instance of one series, and of no other."""
    first = tiny.references[0]
    found = await expand(
        first.study_instance_uid,
        series_uid=first.series_instance_uid,
        qido_url=dicomweb,
        repository_unique_id=REPOSITORY,
    )
    assert set(found) == {each for each in tiny.references if each.series_instance_uid == first.series_instance_uid}


def test_an_unknown_study_without_await(dicomweb: str) -> None:
    """Nothing, and no error."""
    assert expand_blocking("1.2.3.999", qido_url=dicomweb) == ()
