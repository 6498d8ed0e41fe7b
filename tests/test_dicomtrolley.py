"""dicomtrolley's Trolley downloads through RAD-69, with the released package."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from dicomtrolley.core import (
    Instance,
    InstanceReference as Found,
    NonInstanceParameterError,
    Query,
    QueryLevels,
    Searcher,
    Series,
    SeriesReference,
    Study,
    StudyReference,
)
from dicomtrolley.exceptions import DICOMTrolleyError
from dicomtrolley.trolley import Trolley
from pydicom import Dataset, dcmread

from asyncrad69 import IncompleteRetrieveError, Rad69, Retry, XDSMissingDocumentError
from asyncrad69.dicomtrolley import ClientOptions, Downloader, DownloadError
from asyncrad69.testing import SimulatedSource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from asyncrad69 import InstanceReference

QUICK = Retry(attempts=1)


@pytest.fixture(scope="module")
def source() -> Iterator[SimulatedSource]:
    """Two series of two slices."""
    with SimulatedSource.demo(slices=2) as source:
        yield source


@pytest.fixture
def downloader(source: SimulatedSource) -> Downloader:
    """For the source, as a user makes it."""
    return Downloader(source.url, repository_unique_id="1.2.3.4", retry=QUICK)


class KnowsTheSource(Searcher):
    """A searcher that finds the studies of a source."""

    def __init__(self, references: tuple[InstanceReference, ...]) -> None:
        self.references = references
        self.levels: list[QueryLevels] = []

    def find_studies(self, query: Query) -> list[Study]:
        """The studies of the source with the query's UID, as deep as asked."""
        self.levels.append(query.query_level)
        found = [each for each in self.references if each.study_instance_uid == query.StudyInstanceUID]
        return [study_of(found)]


def study_of(references: list[InstanceReference]) -> Study:
    """One study, as a search at instance level finds it."""
    study = Study(uid=references[0].study_instance_uid, data=Dataset(), series=[])
    tree: dict[str, Series] = {}
    for each in references:
        uid = each.series_instance_uid
        series = tree.setdefault(uid, Series(uid=uid, data=Dataset(), parent=study, instances=[]))
        series.instances = [
            *series.instances,
            Instance(uid=each.sop_instance_uid, data=Dataset(), parent=series),
        ]
    study.series = list(tree.values())
    return study


def of_first_study(source: SimulatedSource) -> list[InstanceReference]:
    first = source.references()[0].study_instance_uid
    return [each for each in source.references() if each.study_instance_uid == first]


def found(references: list[InstanceReference]) -> list[Found]:
    """The same in dicomtrolley's words."""
    return [Found(each.study_instance_uid, each.series_instance_uid, each.sop_instance_uid) for each in references]


def kinds(references: list[InstanceReference]) -> dict[str, Any]:
    """What a user may hand to ``Trolley.download``."""
    study = study_of(references)
    return {
        "a study's UID": StudyReference(study_uid=study.uid),
        "a study that was found": study,
        "its series": list(study.series),
        "its instances": [instance for series in study.series for instance in series.instances],
        "references": found(references),
    }


@pytest.mark.parametrize(
    "kind", ["a study's UID", "a study that was found", "its series", "its instances", "references"]
)
def test_trolley_downloads(kind: str, source: SimulatedSource, downloader: Downloader, tmp_path: Path) -> None:
    """Whatever is given for the study, each instance of it is a file that reads back."""
    references = of_first_study(source)
    searcher = KnowsTheSource(source.references())
    Trolley(searcher=searcher, downloader=downloader).download(kinds(references)[kind], tmp_path)
    written = [dcmread(path) for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(each.SOPInstanceUID for each in written) == sorted(each.sop_instance_uid for each in references)
    assert all(each.file_meta.TransferSyntaxUID and len(each.PixelData) for each in written)
    assert searcher.levels == ([QueryLevels.INSTANCE] if kind == "a study's UID" else [])


@pytest.mark.parametrize(
    "too_much", [StudyReference(study_uid="1.2"), SeriesReference(study_uid="1.2", series_uid="1")]
)
def test_what_names_no_instances_is_said_so(downloader: Downloader, too_much: Any) -> None:
    """The error that makes Trolley ask its searcher, before anything is sent."""
    with pytest.raises(NonInstanceParameterError):
        next(downloader.datasets([too_much]))


def missing(source: SimulatedSource) -> Found:
    """A reference to what the source does not have, in a series that it has."""
    first = of_first_study(source)[0]
    return Found(first.study_instance_uid, first.series_instance_uid, "1.2.3.999")


def test_what_came_is_written_before_the_error(source: SimulatedSource, downloader: Downloader, tmp_path: Path) -> None:
    """An instance that is missing costs no other, and ends in an error of dicomtrolley's family, with its report."""
    asked = found(of_first_study(source))
    trolley = Trolley(searcher=KnowsTheSource(source.references()), downloader=downloader)
    with pytest.raises(DICOMTrolleyError, match=f"{len(asked)} of {len(asked) + 1} instances arrived") as caught:
        trolley.download([missing(source), *asked], tmp_path)
    assert isinstance(caught.value, DownloadError)
    assert isinstance(caught.value.__cause__, IncompleteRetrieveError)
    assert caught.value.report is not None
    assert [row.reference.sop_instance_uid for row in caught.value.report.refused] == ["1.2.3.999"]
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == len(asked)


def test_errors_may_be_ignored(source: SimulatedSource) -> None:
    """The client's options are the downloader's."""
    downloader = Downloader(source.url, repository_unique_id="1.2.3.4", retry=QUICK, ignore=(XDSMissingDocumentError,))
    assert list(downloader.datasets([missing(source)])) == []


def test_get_dataset(source: SimulatedSource, downloader: Downloader) -> None:
    """One instance, or the error of dicomtrolley's family."""
    asked = found(of_first_study(source))[0]
    assert downloader.get_dataset(asked).SOPInstanceUID == asked.instance_uid
    with pytest.raises(DownloadError):
        downloader.get_dataset(missing(source))


def test_two_downloads_at_once(source: SimulatedSource, downloader: Downloader) -> None:
    """One downloader serves several iterations, and one that is left early leaves nothing behind."""
    asked = found(of_first_study(source))
    first, second = downloader.datasets(asked), downloader.datasets(asked)
    assert {next(first).SOPInstanceUID, next(second).SOPInstanceUID} <= {each.instance_uid for each in asked}
    first.close()
    assert len(list(second)) == len(asked) - 1


def test_wrong_options_are_found_when_it_is_made() -> None:
    """And not in the middle of the night."""
    with pytest.raises(ValueError, match="concurrency"):
        Downloader("https://source.example/rad69", concurrency=0)


def test_it_shows_no_credentials() -> None:
    """As the client."""
    shown = repr(Downloader("https://source.example/rad69", auth=("someone", "secret")))
    assert shown.startswith("<Downloader ")
    assert "secret" not in shown


def test_it_takes_what_the_client_takes() -> None:
    """Every keyword of Rad69 is one of the downloader's, for type checkers too."""
    parameters = inspect.signature(Rad69).parameters.values()
    keywords = {each.name for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY}
    assert keywords <= set(ClientOptions.__annotations__)


def test_without_dicomtrolley_it_says_what_to_install() -> None:
    """The extra is named where it is missing; the package itself does not need it."""
    code = (
        "import sys; sys.modules['dicomtrolley'] = None; import asyncrad69\n"
        "try: import asyncrad69.dicomtrolley\nexcept ImportError as exc: print(exc)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'asyncrad69[dicomtrolley]'" in done.stdout
