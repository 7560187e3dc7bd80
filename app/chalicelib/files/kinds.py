"""Files that are no text, or none in the encoding that was expected: what they are, by their first bytes."""

from chalicelib.files.encodings import UTF_16_BE, UTF_16_LE

_SIGNATURES = (
    (b"\xff\xfe\0\0", "UTF-32"),
    (b"\0\0\xfe\xff", "UTF-32"),
    (b"PAR1", "a Parquet file"),
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
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
)
_ZIP = b"PK\x03\x04"
_WORKBOOK = (b"[Content_Types].xml", b"xl/")
"""The first entries of an .xlsx file, in the order of whatever wrote it."""
_DOS = b"MZ"
"""It may begin a header as well: a NUL byte tells them apart."""
_BZIP2 = b"BZh"
_BZIP2_BLOCK = b"1AY&SY"
_LOOKED_AT = 4_096
_MIN_UNITS = 4
"""Of fewer characters nothing can be said."""


def kind_of(head: bytes) -> str:
    """Say what a file is that cannot be read as text, by its first bytes; empty if it may be text."""
    for signature, kind in _SIGNATURES:
        if head.startswith(signature):
            return kind
    start = head[:_LOOKED_AT]
    if start.startswith(_ZIP):
        return "an Excel workbook" if any(name in start for name in _WORKBOOK) else "a zip archive"
    if start.startswith(_DOS) and b"\0" in start:
        return "an executable"
    if start.startswith(_BZIP2) and start[4:10] == _BZIP2_BLOCK:
        return "compressed with bzip2"
    return ""


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
