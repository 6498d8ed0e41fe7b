"""
Presets for TransferSyntaxUIDList: the encodings a consumer says it can process (RAD TF-2 4.69.4.1.2).

Their order is not a preference in the standard, but some sources take the first that they hold: compressed
syntaxes come first, so that such a source does not decompress, and the uncompressed ones last. They are always
there, since some sources answer nothing to a list without them.
"""

from __future__ import annotations

UNCOMPRESSED = (
    "1.2.840.10008.1.2.1",  # Explicit VR Little Endian
    "1.2.840.10008.1.2",  # Implicit VR Little Endian
)

_LOSSLESS_ONLY = (
    "1.2.840.10008.1.2.4.201",  # HTJ2K lossless
    "1.2.840.10008.1.2.4.202",  # HTJ2K lossless RPCL
    "1.2.840.10008.1.2.4.90",  # JPEG 2000 lossless
    "1.2.840.10008.1.2.4.92",  # JPEG 2000 part 2 lossless
    "1.2.840.10008.1.2.4.80",  # JPEG-LS lossless
    "1.2.840.10008.1.2.4.70",  # JPEG lossless, first-order prediction
    "1.2.840.10008.1.2.4.57",  # JPEG lossless
    "1.2.840.10008.1.2.5",  # RLE lossless
    "1.2.840.10008.1.2.1.99",  # Deflated Explicit VR Little Endian
    "1.2.840.10008.1.2.2",  # Explicit VR Big Endian, retired
)

_MAYBE_LOSSY = (
    "1.2.840.10008.1.2.4.203",  # HTJ2K
    "1.2.840.10008.1.2.4.91",  # JPEG 2000
    "1.2.840.10008.1.2.4.93",  # JPEG 2000 part 2
    "1.2.840.10008.1.2.4.81",  # JPEG-LS near-lossless
    "1.2.840.10008.1.2.4.51",  # JPEG extended
    "1.2.840.10008.1.2.4.50",  # JPEG baseline
)

_VIDEO = (
    "1.2.840.10008.1.2.4.100",  # MPEG2 main
    "1.2.840.10008.1.2.4.100.1",
    "1.2.840.10008.1.2.4.101",  # MPEG2 high
    "1.2.840.10008.1.2.4.101.1",
    "1.2.840.10008.1.2.4.102",  # MPEG-4 AVC
    "1.2.840.10008.1.2.4.102.1",
    "1.2.840.10008.1.2.4.103",
    "1.2.840.10008.1.2.4.103.1",
    "1.2.840.10008.1.2.4.104",
    "1.2.840.10008.1.2.4.104.1",
    "1.2.840.10008.1.2.4.105",
    "1.2.840.10008.1.2.4.105.1",
    "1.2.840.10008.1.2.4.106",
    "1.2.840.10008.1.2.4.106.1",
    "1.2.840.10008.1.2.4.107",  # HEVC
    "1.2.840.10008.1.2.4.108",
)

#: Every transfer syntax that keeps the pixels exactly.
LOSSLESS = (*_LOSSLESS_ONLY, *UNCOMPRESSED)

#: Every transfer syntax that pydicom knows: the source sends what it has stored. The default.
AS_STORED = (*_LOSSLESS_ONLY, *_MAYBE_LOSSY, *_VIDEO, *UNCOMPRESSED)

# PS3.5 A.6: with a JPIP syntax the source may send a Pixel Data Provider URL in place of the pixel data.
FORBIDDEN = frozenset(f"1.2.840.10008.1.2.4.{last}" for last in ("94", "95", "204", "205"))
