"""Is it DICOM, is it whole, which instance is it: the walk from end to end."""

from __future__ import annotations

import mmap
import random
import re
import struct
import warnings
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pydicom
import pytest

from asyncrad69 import Limits, _elements, _walk
from asyncrad69._elements import EXPLICIT_LITTLE
from asyncrad69._likeness import Likeness
from asyncrad69._walk import ForgetfulView, examine

if TYPE_CHECKING:
    from collections.abc import Iterable

EXPLICIT, IMPLICIT, BIG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
DEFLATED, JPEG = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.70"
LONG = {"OB", "OW", "SQ", "UN", "UT", "OF", "OD", "UR"}
UNDEFINED = 0xFFFFFFFF


class Encoder:
    """Writes elements in one of the three encodings of PS3.5 7.1."""

    def __init__(self, transfer_syntax: str = EXPLICIT) -> None:
        self.order = ">" if transfer_syntax == BIG else "<"
        self.explicit = transfer_syntax != IMPLICIT
        self.transfer_syntax = transfer_syntax

    def __call__(self, tag: int, vr: str, value: bytes, *, length: int | None = None) -> bytes:
        """One element; *length* is written in place of the true one."""
        head = self.pack("HH", tag >> 16, tag & 0xFFFF)
        size = len(value) if length is None else length
        if not self.explicit or tag >> 16 == 0xFFFE:
            return head + self.pack("L", size) + value
        if vr in LONG:
            return head + vr.encode() + b"\0\0" + self.pack("L", size) + value
        return head + vr.encode() + self.pack("H", size) + value

    def pack(self, form: str, *values: int) -> bytes:
        """Numbers in this byte order."""
        return struct.pack(self.order + form, *values)

    def number(self, tag: int, value: int) -> bytes:
        """An US element."""
        return self(tag, "US", self.pack("H", value))

    def item(self, *elements: bytes, defined: bool = False) -> bytes:
        """A sequence item."""
        value = b"".join(elements)
        return (
            self(0xFFFEE000, "", value)
            if defined
            else self(0xFFFEE000, "", value + self(0xFFFEE00D, "", b""), length=UNDEFINED)
        )

    def sequence(self, tag: int, *items: bytes, defined: bool = False, vr: str = "SQ") -> bytes:
        """A sequence."""
        value = b"".join(items)
        return self(tag, vr, value) if defined else self(tag, vr, value + self(0xFFFEE0DD, "", b""), length=UNDEFINED)

    def image(self, *, pixels: bytes | None = None, before_pixels: bytes = b"", **numbers: int) -> bytes:
        """The data set of an image of 4 x 6 of 16 bits; *pixels* is the element, native zeros by default."""
        given = {"samples": 1, "rows": 4, "columns": 6, "bits": 16, "frames": 1} | numbers
        return b"".join(
            (
                self(0x00080018, "UI", b"1.2.3.4\0"),
                self(0x0020000D, "UI", b"1.2\0"),
                self(0x0020000E, "UI", b"1.2.3\0"),
                self.number(0x00280002, given["samples"]),
                self(0x00280004, "CS", b"MONOCHROME2 "),
                self(0x00280008, "IS", str(given["frames"]).encode().ljust(2)),
                self.number(0x00280010, given["rows"]),
                self.number(0x00280011, given["columns"]),
                self.number(0x00280100, given["bits"]),
                before_pixels,
                self(0x7FE00010, "OW", bytes(48)) if pixels is None else pixels,
            )
        )


LITTLE = Encoder()


def file(dataset: bytes, transfer_syntax: str = EXPLICIT) -> bytes:
    """A DICOM file (PS3.10 7.1) around *dataset*."""
    padded = transfer_syntax.encode() + b"\0" * (len(transfer_syntax) % 2)
    meta = LITTLE(0x00020001, "OB", b"\0\1") + LITTLE(0x00020003, "UI", b"1.2.3.4\0") + LITTLE(0x00020010, "UI", padded)
    return bytes(128) + b"DICM" + LITTLE(0x00020000, "UL", struct.pack("<L", len(meta))) + meta + dataset


def deflated(dataset: bytes) -> bytes:
    """Deflated as PS3.5 A.5 says."""
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(dataset) + deflater.flush()


def fragments(*data: bytes, end: bool = True) -> bytes:
    """Encapsulated pixel data: a basic offset table and fragments (PS3.5 A.4)."""
    items = b"".join(LITTLE(0xFFFEE000, "", each) for each in (b"", *data))
    return LITTLE(0x7FE00010, "OB", items + (LITTLE(0xFFFEE0DD, "", b"") if end else b""), length=UNDEFINED)


def nested(encoder: Encoder) -> bytes:
    """Sequences of defined and undefined length in each other, empty ones, and private ones."""
    inner = encoder.sequence(0x00081199, encoder.item(encoder(0x00081155, "UI", b"9.9\0")), encoder.item(defined=True))
    return b"".join(
        (
            encoder.sequence(0x00400275, encoder.item(inner, encoder(0x00080018, "UI", b"9.8\0")), encoder.item()),
            encoder.sequence(0x00400555, encoder.item(inner, defined=True), defined=True),
            encoder.sequence(0x00400556),
            encoder.sequence(0x00400557, defined=True),
        )
    )


WHOLE: dict[str, bytes] = {
    "explicit": file(LITTLE.image()),
    "implicit": file(Encoder(IMPLICIT).image(), IMPLICIT),
    "big-endian": file(Encoder(BIG).image(), BIG),
    "deflated": file(deflated(LITTLE.image()), DEFLATED),
    "fragments": file(LITTLE.image(pixels=fragments(b"12", b"3456")), JPEG),
    "nested-explicit": file(LITTLE.image(before_pixels=nested(LITTLE))),
    "nested-implicit": file(Encoder(IMPLICIT).image(before_pixels=nested(Encoder(IMPLICIT))), IMPLICIT),
    "nested-big-endian": file(Encoder(BIG).image(before_pixels=nested(Encoder(BIG))), BIG),
}

whole_files = pytest.mark.parametrize("data", WHOLE.values(), ids=WHOLE)


@whole_files
def test_a_whole_file_says_what_it_is(data: bytes) -> None:
    """Its UIDs from the top level, its transfer syntax, no flaw; the same from a mapped file."""
    facts = examine(data)
    assert facts.flaw is None
    assert (facts.sop_instance_uid, facts.series_instance_uid, facts.study_instance_uid) == ("1.2.3.4", "1.2.3", "1.2")
    assert facts.meta_sop_instance_uid == "1.2.3.4"
    assert facts.transfer_syntax_uid in {EXPLICIT, IMPLICIT, BIG, DEFLATED, JPEG}
    with mmap.mmap(-1, len(data)) as mapped:
        mapped[:] = data
        assert examine(mapped) == facts


class Watching(ForgetfulView):
    """Notes what it is told."""

    told: list[int]

    def passed(self, position: int) -> None:
        self.told.append(position)


@pytest.mark.parametrize(("name", "items"), [("fragments", 3), ("nested-explicit", 4)])
def test_the_walk_tells_what_it_has_passed(name: str, items: int) -> None:
    """At each fragment, and each item that it does not step over, so that a view need not keep what is behind."""
    data = WHOLE[name]
    with Watching(-1, len(data)) as view:
        view.told = []
        view[:] = data
        assert examine(view) == examine(data)
    assert view.told == sorted(view.told)
    assert [data[each : each + 4] for each in view.told] == [struct.pack("<HH", 0xFFFE, 0xE000)] * items


@whole_files
def test_cut_anywhere_it_has_a_flaw(data: bytes) -> None:
    """Every cut is found down to the last byte, but for those between two elements before the image is described."""
    description = (0x00280100).to_bytes(4, "big")
    for length in range(len(data)):
        facts = examine(data[:length])
        if facts.flaw is None:
            order = ">" if facts.transfer_syntax_uid == BIG else "<"
            group, element = struct.unpack_from(order + "HH", data, length)
            assert struct.pack(">HH", group, element) in TOP_LEVEL, length
            assert struct.pack(">HH", group, element) <= description, length


#: Where an image may be cut so that what is left is a data set too.
TOP_LEVEL = {
    tag.to_bytes(4, "big")
    for tag in (0x0020000D, 0x0020000E, 0x00280002, 0x00280004, 0x00280008, 0x00280010, 0x00280011, 0x00280100)
}


@whole_files
@pytest.mark.parametrize("tail", [b"\r\n", b"\0", b"garbage that is not an element", b"\0\0\0\0\0\0\0\0x"])
def test_what_follows_is_noticed(data: bytes, tail: bytes) -> None:
    """Bytes behind the last element are a flaw, except behind a deflate stream, which knows its end."""
    flaw = examine(data + tail).flaw
    assert (flaw is None) == (examine(data).transfer_syntax_uid == DEFLATED)


@pytest.mark.parametrize("size", [2, 4, 6, 8, 10, 500, 512])
def test_padding_to_a_block_is_no_flaw(size: int) -> None:
    """NUL bytes at the end, an even number of them."""
    assert examine(WHOLE["explicit"] + bytes(size)).flaw is None
    assert examine(WHOLE["implicit"] + bytes(size)).flaw is None


@pytest.mark.parametrize(
    ("dataset", "transfer_syntax", "flaw"),
    [
        pytest.param(
            LITTLE.image(pixels=fragments(b"12", end=False)), JPEG, "ends inside an element's header", id="no-end"
        ),
        pytest.param(
            LITTLE.image(
                pixels=LITTLE(0x7FE00010, "OB", LITTLE(0xFFFEE000, "", b"", length=UNDEFINED), length=UNDEFINED)
            ),
            JPEG,
            "has a pixel data fragment of undefined length",
            id="undefined-fragment",
        ),
        pytest.param(
            LITTLE.image(pixels=LITTLE(0x7FE00010, "OB", bytes(48), length=UNDEFINED)),
            JPEG,
            "has no item where one belongs in .7FE0,0010.",
            id="no-item",
        ),
        pytest.param(LITTLE.image(pixels=b""), EXPLICIT, "has 0 bytes of pixel data", id="no-pixels"),
        pytest.param(LITTLE.image(pixels=b""), JPEG, "has 0 bytes of pixel data", id="no-fragments"),
        pytest.param(
            LITTLE.image(pixels=LITTLE(0x7FE00010, "OW", b"")), EXPLICIT, "has 0 bytes of pixel data", id="empty-pixels"
        ),
        pytest.param(LITTLE.image(rows=5), EXPLICIT, "has 48 bytes .* ask for 60", id="rows"),
        pytest.param(LITTLE.image(frames=2), EXPLICIT, "has 48 bytes .* ask for 96", id="frames"),
        pytest.param(LITTLE.image(samples=3), EXPLICIT, "has 48 bytes .* ask for 144", id="samples"),
        pytest.param(LITTLE.image(bits=32), EXPLICIT, "has 48 bytes .* ask for 96", id="bits"),
        pytest.param(Encoder(BIG).image(rows=5), BIG, "has 48 bytes .* ask for 60", id="big-endian"),
        pytest.param(deflated(LITTLE.image(rows=5)), DEFLATED, "has 48 bytes .* ask for 60", id="deflated"),
        pytest.param(b"", EXPLICIT, "has no data set", id="no-data-set"),
        pytest.param(deflated(b""), DEFLATED, "has no data set", id="no-data-set-deflated"),
        pytest.param(b"\xff" * 40, DEFLATED, "its deflate stream is broken", id="not-deflated"),
        pytest.param(deflated(bytes(2 << 20)), DEFLATED, "inflates to more than", id="deflate-bomb"),
        pytest.param(
            LITTLE.image(before_pixels=LITTLE(0x00400275, "SQ", LITTLE.item()[:-2] + b"\1\0", length=UNDEFINED)),
            EXPLICIT,
            "has no item where one belongs in .0040,0275.",
            id="item-end-of-some-length",
        ),
    ],
)
def test_flaws_are_named(dataset: bytes, transfer_syntax: str, flaw: str) -> None:
    """What is wrong is said by tag and size, without a value."""
    found = examine(file(dataset, transfer_syntax)).flaw
    assert found is not None
    assert re.search(flaw, found), found


@pytest.mark.parametrize(
    ("dataset", "transfer_syntax"),
    [
        pytest.param(LITTLE.image(rows=3), EXPLICIT, id="more-pixels-than-asked-for"),
        pytest.param(
            LITTLE.image(bits=1, rows=1, columns=3, pixels=LITTLE(0x7FE00010, "OB", b"\0\0")), EXPLICIT, id="one-bit"
        ),
        pytest.param(
            LITTLE.image(samples=3, bits=8, pixels=LITTLE(0x7FE00010, "OB", bytes(48))).replace(
                b"MONOCHROME2 ", b"YBR_FULL_422"
            ),
            EXPLICIT,
            id="half-the-chrominance",
        ),
        pytest.param(LITTLE.image(pixels=LITTLE(0x7FE00008, "OF", bytes(96))), EXPLICIT, id="float-pixels"),
        pytest.param(
            LITTLE.image(pixels=LITTLE(0x00287FE0, "UR", b"http://x")), "1.2.840.10008.1.2.4.94", id="provider-url"
        ),
        pytest.param(LITTLE(0x00080018, "UI", b"1.2\0"), EXPLICIT, id="no-image"),
        pytest.param(Encoder(IMPLICIT).image(), EXPLICIT, id="implicit-where-explicit-was-said"),
        pytest.param(
            LITTLE(0x00080018, "UI", b"1.2\0") + Encoder(IMPLICIT)(0x00090010, "", b"xy"),
            EXPLICIT,
            id="implicit-inside",
        ),
        pytest.param(LITTLE(0x00090010, "ZZ", b"xy"), EXPLICIT, id="a-VR-of-tomorrow"),
        pytest.param(
            LITTLE(0x00091010, "UN", b"", length=UNDEFINED)
            + Encoder(IMPLICIT).item(Encoder(IMPLICIT)(0x00080018, "", b"1.9\0"))
            + LITTLE(0xFFFEE0DD, "", b""),
            EXPLICIT,
            id="unknown-of-undefined-length",
        ),
        pytest.param(
            LITTLE.sequence(0x00880200, LITTLE.item(fragments(b"12"))) + LITTLE(0x00091010, "UT", b"x" * 70_000),
            EXPLICIT,
            id="an-icon-in-fragments",
        ),
    ],
)
def test_odd_files_are_whole(dataset: bytes, transfer_syntax: str) -> None:
    """What real writers do, and what the standard allows."""
    assert examine(file(dataset, transfer_syntax)).flaw is None


def test_an_item_whose_length_looks_like_a_vr() -> None:
    """PS3.5 7.5: items have no VR, whatever the first bytes of their length spell."""
    size = int.from_bytes(b"CS", "little")
    item = LITTLE(0xFFFEE000, "", bytes(size))
    assert examine(file(LITTLE.sequence(0x00400275, item))).flaw is None
    assert (
        examine(file(LITTLE.sequence(0x00400275, LITTLE(0xFFFEE000, "", bytes(int.from_bytes(b"UT", "little")))))).flaw
        is None
    )


@pytest.mark.parametrize("depth", [32, 33, 10_000])
def test_sequences_nest_up_to_a_depth(depth: int) -> None:
    """32 levels are walked; more are refused, without exhausting the stack."""
    data = b""
    if depth > 100:
        data = (LITTLE(0x00400275, "SQ", b"", length=UNDEFINED) + LITTLE(0xFFFEE000, "", b"", length=UNDEFINED)) * depth
    else:
        for _ in range(depth):
            data = LITTLE.sequence(0x00400275, LITTLE.item(data))
    facts = examine(file(data))
    assert facts.flaw == (None if depth == 32 else "nests sequences deeper than 32")
    assert facts.exceeded == (None if depth == 32 else "max_dicom_depth")


@pytest.mark.parametrize(
    ("bounds", "exceeded"),
    [
        (Limits(), "max_dicom_inflation"),
        (Limits(max_dicom_inflation=2000), None),
        (Limits(max_dicom_inflation=2000, max_part=1 << 20), "max_part"),
    ],
)
def test_a_deflated_data_set_inflates_up_to_its_bounds(bounds: Limits, exceeded: str | None) -> None:
    """By its ratio and by its size; which of them it was is said."""
    pixel_data = LITTLE(0x7FE00010, "OB", bytes(2 << 20))
    facts = examine(file(deflated(pixel_data), DEFLATED), bounds)
    assert facts.exceeded == exceeded
    assert (facts.flaw is None) == (exceeded is None)


@pytest.mark.parametrize(
    ("data", "flaw"),
    [
        (b"", "is empty"),
        (b"<html>login</html>", "is not a DICOM file"),
        (LITTLE.image(), "is not a DICOM file"),
        (b"\r\n" + WHOLE["explicit"], "is not a DICOM file"),
        (bytes(128) + b"DICM", "has no transfer syntax"),
        (bytes(128) + b"DICM" + LITTLE.image(), "has no transfer syntax"),
        (bytes(128) + b"DICM" + LITTLE(0x00020010, "UI", b"1.2", length=99), "ends inside file meta information"),
    ],
)
def test_what_is_no_file_is_said_so(data: bytes, flaw: str) -> None:
    """Not DICOM, or not as PS3.10 has it."""
    facts = examine(data)
    assert facts.flaw is not None
    assert facts.flaw.startswith(flaw)
    assert facts.sop_instance_uid == ""


def test_the_instance_is_named_by_its_data_set() -> None:
    """(0008,0018) counts; without it the file meta information; nested ones never."""
    other = LITTLE(0x00080018, "UI", b"1.9 ")
    assert examine(file(other)).sop_instance_uid == "1.9"
    assert examine(file(other)).meta_sop_instance_uid == "1.2.3.4"
    assert examine(file(LITTLE.sequence(0x00400275, LITTLE.item(other)))).sop_instance_uid == "1.2.3.4"


def test_values_that_make_no_sense_are_no_crash() -> None:
    """Numbers of no bytes, frames that are no number, UIDs beyond ASCII."""
    empty = b"".join(LITTLE(tag, "US", b"") for tag in (0x00280002, 0x00280010, 0x00280011, 0x00280100))
    frames = LITTLE(0x00280008, "IS", b"x" * 9000) + LITTLE(0x00280008, "IS", b"9" * 5000)
    facts = examine(file(LITTLE(0x00080018, "UI", b"\xff\xfe") + empty + frames))
    assert facts.flaw is None
    assert not facts.sop_instance_uid.isascii()


def test_no_mutation_makes_it_raise() -> None:
    """Bytes changed at random give facts, never an exception."""
    dice = random.Random(69)
    for name, data in WHOLE.items():
        for _ in range(300):
            mutated = bytearray(data)
            for _ in range(dice.randint(1, 6)):
                mutated[dice.randrange(128, len(data))] = dice.choice([0, 0xFF, 0xFE, 0xE0, dice.randrange(256)])
            assert examine(bytes(mutated)) is not None, name


# --- pydicom's own files

TEST_FILES = Path(pydicom.__file__).parent / "data" / "test_files"
PART_10 = sorted(path for path in TEST_FILES.rglob("*") if path.is_file() and path.read_bytes()[128:132] == b"DICM")
#: What is not whole in pydicom's wheel, and why.
FLAWED = {
    "MR_truncated.dcm": "ends inside element (7FE0,0010)",
    "rtplan_truncated.dcm": "ends inside element (300A,00B0)",
    "meta_missing_tsyntax.dcm": "has no transfer syntax in its file meta information",
}


@pytest.mark.parametrize("path", PART_10, ids=lambda path: path.name)
def test_pydicoms_files_get_the_verdict_they_should(path: Path) -> None:
    """Files of many writers: whole but for three, with the UIDs that pydicom reads; and cut, they are not whole."""
    data = path.read_bytes()
    facts = examine(data)
    assert facts.flaw == FLAWED.get(path.name)
    dice = random.Random(path.name)
    start = data.find(b"\x08\x00", 132) + 1
    cuts = [dice.randrange(start, len(data)) for _ in range(15)]
    found = sum(examine(data[:cut]).flaw is not None for cut in cuts)
    # A cut between two elements of a header is another header: only the client knows that it expected more.
    assert found >= 10
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SOPInstanceUID", "StudyInstanceUID"])
    assert facts.study_instance_uid == str(dataset.get("StudyInstanceUID", "") or "").strip()


def test_the_wheel_has_files() -> None:
    """The test above means something."""
    assert len(PART_10) > 100
    assert FLAWED.keys() <= {path.name for path in PART_10}


@pytest.mark.parametrize("transfer_syntax", [EXPLICIT, IMPLICIT, BIG])
def test_what_was_stepped_over_once_is_looked_at_where_it_is_cut(transfer_syntax: str) -> None:
    """Elements seen in one file are passed faster in the next, and say no less."""
    encoder = Encoder(transfer_syntax)
    name, nested_name = encoder(0x00100010, "PN", b"A^B "), encoder.sequence(0x00100010, encoder.item())
    assert examine(file(name + encoder.image(), transfer_syntax)).flaw is None
    assert examine(file(encoder.image() + name, transfer_syntax)).flaw is None
    assert examine(file(encoder.image() + name[:-1], transfer_syntax)).flaw == "ends inside element (0010,0010)"
    assert examine(file(encoder.image() + name[:7], transfer_syntax)).flaw == "ends inside an element's header"
    assert examine(file(nested_name + encoder.image(), transfer_syntax)).flaw is None


# --- what is known of others of the series


def usual(encoder: Encoder, values: Iterable[bytes]) -> bytes:
    """Elements of a group that tells the walk nothing."""
    return b"".join(encoder(0x00080100 + 2 * number, "LO", value) for number, value in enumerate(values))


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG])
def test_a_likeness_changes_nothing(syntax: str) -> None:
    """However a file differs from those before it, cut or with other values and lengths, it is what it is alone."""
    encoder, chance = Encoder(syntax), random.Random(7)
    values = [b"x" * (8 + 2 * (number % 3)) for number in range(20)]
    known = file(usual(encoder, values) + encoder.image(), syntax)
    others = [known[:end] for end in range(len(known))]
    for _ in range(500):
        changed = bytearray(known)
        for _ in range(chance.randint(1, 3)):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        others.append(bytes(changed))
    others += [file(usual(encoder, [*values[:-1], b"y" * size]) + encoder.image(), syntax) for size in range(0, 20, 2)]
    others += [file(usual(encoder, values[size:]) + encoder.image(), syntax) for size in range(20)]
    likeness = Likeness()
    for number, other in enumerate(others):
        if number % 40 == 0:
            likeness = Likeness()
            for _ in range(2):
                assert examine(known, likeness=likeness).flaw is None
        assert examine(other, likeness=likeness) == examine(other)
        assert examine(known, likeness=likeness) == examine(known)


def test_one_likeness_for_files_of_several_encodings() -> None:
    """The same bytes mean other elements in another encoding: what is known of one is not used for the other."""
    likeness = Likeness()
    files = [file(Encoder(syntax).image(), syntax) for syntax in (EXPLICIT, IMPLICIT, BIG)]
    for _ in range(3):
        for data in files:
            assert examine(data, likeness=likeness) == examine(data)


def test_heads_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files may name any number of private tags."""
    monkeypatch.setattr(_elements, "MOST_HEADS", 2)
    monkeypatch.setattr(_walk, "MOST_HEADS", 2)
    heads, plain = EXPLICIT_LITTLE._heads, _walk._plain[EXPLICIT_LITTLE]
    heads.clear()
    plain.clear()
    private = b"".join(LITTLE(0x00110000 | element, "LO", b"") for element in range(0x1000, 0x1005))
    assert examine(file(LITTLE.image(before_pixels=private))).flaw is None
    assert 0 < len(heads) <= 2
    assert 0 < len(plain) <= 2
