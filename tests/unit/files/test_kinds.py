"""Files that are no text."""

import io
import zipfile

import pytest

from chalicelib.files.kinds import kind_of, unmarked


def _zip(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "a,b\n")
    return file.getvalue()


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (_zip("data.csv"), "a zip archive"),
        (_zip("[Content_Types].xml", "xl/workbook.xml"), "an Excel workbook"),
        (b"PAR1\x15\x04", "a Parquet file"),
        (b"\x7fELF\x02\x01", "an executable"),
        (b"MZ\x90\0\x03\0", "an executable"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"BZh91AY&SY", "compressed with bzip2"),
        ("a,b\n1,2\n".encode("utf-32"), "UTF-32"),
    ],
)
def test_a_file_that_is_no_text_is_named(head: bytes, kind: str) -> None:
    """By its first bytes, whatever its name says."""
    assert kind_of(head) == kind


@pytest.mark.parametrize(
    "head",
    [b"", b"a", b"MZ,a\n1,2\n", b"PK,a\n", b"BZh1,a\n", b"a\0b,c\n1,2\n", "é,ü\n1,2\n".encode(), b"\0\0\0\0\0\0"],
)
def test_text_is_left_alone(head: bytes) -> None:
    """Also where it begins like something else, or has a NUL byte in it."""
    assert (kind_of(head), unmarked(head)) == ("", "")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_is_told_by_its_zeros(encoding: str) -> None:
    """No mark is needed."""
    assert unmarked("é,b\n1,2\n".encode(encoding)) == encoding
