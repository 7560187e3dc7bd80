"""Files that are no text, or none in the encoding that was expected: what they are, by their first bytes."""

import re

from chalicelib.files.encodings import UTF_16_BE, UTF_16_LE

_SIGNATURES = (
    (b"\xff\xfe\0\0", "UTF-32"),
    (b"\0\0\xfe\xff", "UTF-32"),
    (b"ARROW1\0\0", "an Arrow file"),
    (b"Obj\x01", "an Avro file"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office document, such as an .xls workbook"),
    (b"%PDF-", "a PDF document"),
    (b"\x7fELF", "an executable"),
    (b"\xcf\xfa\xed\xfe", "an executable"),
    (b"\xca\xfe\xba\xbe", "an executable"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
    (b"\xfd7zXZ\0", "compressed with xz"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\xce\xfa\xed\xfe", "an executable"),
    (b"\0asm", "an executable"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\x04\x22\x4d\x18", "compressed with lz4"),
    (b"\xff\x06\0\0sNaPpY", "compressed with Snappy"),
    (b"\x1f\x9d", "compressed with compress"),
    (b"\x1f\x8b", "compressed twice"),
    (b"{\\rtf", "a Rich Text document"),
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
)
_PATTERNS = tuple(
    (re.compile(pattern, re.DOTALL), kind)
    for pattern, kind in (
        (rb"PK\x03\x04.*(?:\[Content_Types\]\.xml|xl/)", "an Excel workbook"),  # of any program: its first entries
        (rb"PK\x03\x04", "a zip archive"),
        (rb"BZh.1AY&SY", "compressed with bzip2"),
        (rb"(?=.{,256}\0).{257}ustar", "a tar archive"),
        (rb"(?:\xef\xbb\xbf)?\s*<(?i:!doctype\s+html|html)[\s>]", "an HTML page"),  # that a server sent for the file
        (rb"(?:\xef\xbb\xbf)?\s*<\?(?i:xml)\s", "an XML document"),
        (rb"\0+\Z", "nothing but NUL bytes"),
        # What may begin a header as well: a control character tells them apart.
        *(
            (signature + rb".*[\x00-\x08\x0e-\x1f]", kind)
            for signature, kind in (
                (b"PAR1", "a Parquet file"),
                (b"ORC", "an ORC file"),
                (b"FEA1", "a Feather file"),
                (b"GIF89a", "a GIF image"),
                (b"MZ", "an executable"),
            )
        ),
    )
)
_LOOKED_AT = 4_096
_MIN_UNITS = 4
"""Fewer characters are no evidence."""


def kind_of(head: bytes) -> str:
    """Say what a file is that cannot be read as text, by its first bytes; empty if it may be text."""
    for signature, kind in _SIGNATURES:
        if head.startswith(signature):
            return kind
    start = head[:_LOOKED_AT]
    return next((kind for pattern, kind in _PATTERNS if pattern.match(start)), "")


def unmarked(head: bytes) -> str:
    """Return which UTF-16 a text without a byte order mark is; empty if it is none.

    The zeros tell: of most characters one half is zero, and always the same half.
    """
    even, odd = head[:_LOOKED_AT:2], head[1:_LOOKED_AT:2]
    if len(odd) < _MIN_UNITS:
        return ""
    first, second = even.count(0) / len(even), odd.count(0) / len(odd)
    if min(first, second) >= 0.05 or max(first, second) <= 0.5:  # noqa: PLR2004  few characters have none, or are one
        return ""
    return UTF_16_BE if first > second else UTF_16_LE
