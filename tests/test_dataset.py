"""The quick reader gives what pydicom's gives, or leaves the file to it."""

from __future__ import annotations

import pickle
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom import Dataset, dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.tag import Tag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
)

from asyncrad69 import _dataset
from asyncrad69._dataset import DatasetReader
from asyncrad69._likeness import Likeness
from asyncrad69._walk import examine

DATA = Path(pydicom.__file__).parent / "data"
FILES = sorted(path for path in DATA.rglob("*") if path.is_file() and path.read_bytes()[128:132] == b"DICM")

# Left to pydicom: big endian, deflated, without a transfer syntax, cut, or with a VR that is none.
LEFT = {
    "DICOMDIR-bigEnd",
    "ExplVR_BigEnd.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_expb.dcm",
    "MR_truncated.dcm",
    "SC_rgb_jpeg.dcm",
    "SC_rgb_small_odd_big_endian.dcm",
    "UN_sequence.dcm",
    "image_dfl.dcm",
    "liver_expb_1frame.dcm",
    "meta_missing_tsyntax.dcm",
    "nested_priv_SQ.dcm",
    "rtdose_expb.dcm",
    "rtdose_expb_1frame.dcm",
    "rtplan_truncated.dcm",
}


def properties(dataset: FileDataset) -> dict[str, Any]:
    """What a Dataset knows beside its elements."""
    names = ("preamble", "filename", "timestamp", "fileobj_type", "is_implicit_VR", "is_little_endian", "buffer")
    encodings = ("original_encoding", "original_character_set", "_character_set", "_parent_encoding", "_read_charset")
    return {name: getattr(dataset, name) for name in (*names, *encodings)}


def written(dataset: FileDataset) -> bytes:
    """The Dataset as a file again."""
    file = BytesIO()
    dataset.save_as(file, enforce_file_format=False)
    return file.getvalue()


def check(data: bytes, reader: DatasetReader | None = None) -> bool:
    """Compare the two readers, ours also when it knows the file already; whether it took it."""
    reader = reader or DatasetReader()
    quick = reader.maybe(data)
    if quick is not None:
        compare(quick, data)
    for _ in range(2):  # what is known begins with the second
        examine(data, likeness=reader.likeness)
        again = reader.maybe(data)
        assert (again is None) == (quick is None)
        if again is not None:
            compare(again, data)
    return quick is not None


def compare(quick: FileDataset, data: bytes) -> None:
    """With what pydicom makes of *data*, down to the last attribute."""
    slow = dcmread(BytesIO(data))
    slow.buffer = None
    with warnings.catch_warnings(action="ignore"):
        assert list(quick) == list(slow)
        assert properties(quick) == properties(slow)
        assert quick.file_meta == slow.file_meta
        for tag, element in slow.items():
            if isinstance(element, RawDataElement):  # pydicom has decoded some by now
                assert quick.get_item(tag) == element
        assert quick == slow
        assert written(quick) == written(slow)
        assert vars(quick).keys() == vars(slow).keys()
        assert vars(quick.file_meta).keys() == vars(slow.file_meta).keys()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
@pytest.mark.filterwarnings("ignore")
def test_as_pydicom_reads_it(path: Path) -> None:
    """All of pydicom's files: elements, their order, encodings, file meta information, and what is written again."""
    assert check(path.read_bytes()) == (path.name not in LEFT)


def file(transfer_syntax: UID, **elements: Any) -> bytes:
    """A small file."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = transfer_syntax
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3"
    for name, value in elements.items():
        setattr(dataset, name, value)
    out = BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


SMALL = file(ExplicitVRLittleEndian)


def item(**elements: Any) -> Dataset:
    """A sequence's item."""
    dataset = Dataset()
    for name, value in elements.items():
        setattr(dataset, name, value)
    return dataset


@pytest.mark.parametrize("transfer_syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("undefined", [False, True])
def test_sequences_and_character_sets(transfer_syntax: UID, undefined: bool) -> None:
    """Sequences of defined and of undefined length, with names in the character set of the file and of an item."""
    inner = item(SpecificCharacterSet="ISO_IR 192", PatientName="王^小東")
    dataset = dcmread(
        BytesIO(
            file(
                transfer_syntax,
                SpecificCharacterSet="ISO_IR 100",
                PatientName="Äneas^Rüdiger",
                PatientComments="",
                ReferencedStudySequence=[item(PatientName="Buc^Jérôme"), inner],
                RequestAttributesSequence=[],
            )
        )
    )
    dataset["ReferencedStudySequence"].is_undefined_length = undefined
    dataset.ReferencedStudySequence[0].is_undefined_length_sequence_item = undefined
    data = written(dataset)
    assert check(data)
    quick = DatasetReader().maybe(data)
    assert quick is not None
    assert [str(each.PatientName) for each in quick.ReferencedStudySequence] == ["Buc^Jérôme", "王^小東"]


def test_encapsulated_pixel_data() -> None:
    """Fragments stay as they are, with what looks like a delimiter inside."""
    dataset = dcmread(BytesIO(file(ExplicitVRLittleEndian)))
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.PixelData = encapsulate([b"\xfe\xff\xdd\xe0" * 4, b"abcd"])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    assert check(written(dataset))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(bytes(200), id="no DICM"),
        pytest.param(bytes(128) + b"DICM", id="nothing after DICM"),
        pytest.param(SMALL[: SMALL.index(b"\x08\x00\x16\x00")], id="no data set"),
        pytest.param(file(ExplicitVRBigEndian), id="big endian"),
        pytest.param(file(DeflatedExplicitVRLittleEndian), id="deflated"),
        pytest.param(file(ExplicitVRLittleEndian)[:-1], id="cut in a value"),
        pytest.param(file(ExplicitVRLittleEndian) + b"\0", id="a byte too many"),
        pytest.param(file(ImplicitVRLittleEndian)[:-1], id="cut in a value, implicit"),
        pytest.param(file(ImplicitVRLittleEndian) + b"\x09\x00\x01\x00\xff\xff\xff\xff", id="private, undefined"),
        pytest.param(file(ExplicitVRLittleEndian) + b"\x09\x00\x01\x00ZZ\x00\x00", id="unknown VR"),
        pytest.param(file(ExplicitVRLittleEndian) + b"\x09\x00\x01\x00UN\0\0\xff\xff\xff\xff", id="UN, undefined"),
    ],
)
def test_the_unusual_is_left_to_pydicom(data: bytes) -> None:
    """Whatever takes a guess, a warning or another encoding."""
    assert DatasetReader().maybe(data) is None


def test_private_transfer_syntaxes(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was registered with pydicom has the encoding it was registered with; another is explicit to both."""
    data = file(ExplicitVRLittleEndian).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.113619.5.2\0\0")
    assert check(data)
    monkeypatch.setattr("asyncrad69._dataset.PrivateTransferSyntaxes", [UID("1.2.840.113619.5.2")])
    assert DatasetReader().maybe(data) is None


def test_implicit_where_explicit_was_said() -> None:
    """A transfer syntax that does not fit the data is pydicom's to sort out, either way round."""
    explicit, implicit = file(ExplicitVRLittleEndian), file(ImplicitVRLittleEndian)
    one, other = b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2\0"
    body = explicit[explicit.index(b"\x08\x00\x16\x00") :], implicit[implicit.index(b"\x08\x00\x16\x00") :]
    heads = explicit[: -len(body[0])], implicit[: -len(body[1])]
    assert one in heads[0]
    assert other in heads[1]
    assert DatasetReader().maybe(heads[0] + body[1]) is None
    assert DatasetReader().maybe(heads[1] + body[0]) is None


def test_heads_are_shared_and_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files may name any number of private tags; those that are kept for the next file have a bound."""
    monkeypatch.setattr(_dataset, "_MOST_TAGS", 2)
    heads = _dataset._Heads()
    name, rows, pixels = b"\x10\0\x10\0PN", b"\x28\0\x10\0", b"\xe0\x7f\x10\0OW"
    assert heads[name] == (0x00100010, "PN", True)
    assert heads[rows] == (0x00280010, None, True)
    assert heads[rows] is heads[rows]
    assert heads[pixels] == (0x7FE00010, "OW", False)
    assert list(heads) == [pixels]


# --- instances of a series


def series(transfer_syntax: UID = ExplicitVRLittleEndian) -> list[bytes]:
    """As scanners write them: most elements alike, some of other values, some of those of another length."""
    return [
        file(
            transfer_syntax,
            SpecificCharacterSet="ISO_IR 192",
            SOPInstanceUID=f"1.2.3.{7 * number}",
            PatientName="王^小東",
            Manufacturer="M" * 20,
            StudyDescription="S" * 30,
            ReferencedStudySequence=[item(ReferencedSOPInstanceUID="1.2.3", PatientName="Buc^Jérôme")],
            AcquisitionTime=f"1200{number % 60:02}",
            InstanceNumber=str(number),
            ImagePositionPatient=[1, 2, number / 8],
            PatientComments="" if number % 5 else "C" * 40,
            PixelData=bytes([number]) * 5000,
            BitsAllocated=8,
        )
        for number in range(1, 130, 4)
    ]


@pytest.mark.parametrize("transfer_syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_what_instances_share_changes_nothing(transfer_syntax: UID) -> None:
    """Each is what pydicom reads, also after others were decoded, changed and written."""
    reader, instances = DatasetReader(), series(transfer_syntax)
    for data in instances:
        assert check(data, reader)
    read = [reader.maybe(data) for data in instances]
    for number, dataset in enumerate(read):
        assert dataset is not None
        dataset.PatientName = f"Other^{number}"
        dataset.file_meta.ImplementationVersionName = f"V{number}"
        dataset.private_block(0x0011, "us", create=True).add_new(1, "LO", "x")
        del dataset.Manufacturer
        dataset.ReferencedStudySequence[0].PatientName = "Changed"
    for data in instances:
        assert check(data, reader)


def test_instances_share_what_they_have_in_common() -> None:
    """The same object is in all Datasets, which spares the garbage collector's time; what differs is each one's own."""
    reader, instances = DatasetReader(), series()
    for data in instances:
        examine(data, likeness=reader.likeness)
    datasets = [reader.maybe(data) for data in instances[:2]]
    first, second = (dict(dataset.items()) for dataset in datasets if dataset is not None)
    assert first[Tag("Manufacturer")] is second[Tag("Manufacturer")]
    assert first[Tag("SOPInstanceUID")] != second[Tag("SOPInstanceUID")]


def test_shared_elements_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are kept for each position that a run was found at, up to a number."""
    monkeypatch.setattr(_dataset, "_MOST_RUNS", 2)
    reader = DatasetReader()
    for size in range(2, 20, 2):
        data = file(ExplicitVRLittleEndian, SOPInstanceUID="1" * size, Manufacturer="M" * 20, PatientID="1")
        assert check(data, reader)
        assert len(reader._shared) <= 2


def test_a_reader_is_pickled_without_what_it_knows() -> None:
    """An `Instance` that goes to another process takes nothing of other instances with it."""
    reader = DatasetReader()
    for data in series():
        check(data, reader)
    copied = pickle.loads(pickle.dumps(reader))
    assert check(series()[0], copied)
    assert b"M" * 20 not in pickle.dumps(reader)


def test_an_unknown_vr_in_a_run_is_left_to_pydicom() -> None:
    """The walk takes it, as pydicom does; the quick reader does not."""
    data, likeness = SMALL + b"\x09\x00\x01\x00ZZ\x02\x00ab", Likeness()
    for _ in range(2):
        assert examine(data, likeness=likeness).flaw is None
    assert DatasetReader(likeness).maybe(data) is None
