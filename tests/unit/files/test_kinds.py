"""Files that are no text."""

import io
import tarfile
import zipfile

import pytest

from chalicelib.files.kinds import kind_of, unmarked


def _zip(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "a,b\n")
    return file.getvalue()


def _tar(name: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name))
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
        (b"ORC\x08\x03", "an ORC file"),
        (b"PK\x05\x06" + b"\0" * 18, "an empty zip archive"),
        (b"\x1f\x9d\x90", "compressed with compress"),
        (b"\x1f\x8b\x08", "compressed twice"),
        (_tar("data.csv"), "a tar archive"),
        (b"\xef\xbb\xbf\n <!DOCTYPE html>\n<html>", "an HTML page"),
        (b"<HTML lang=en>", "an HTML page"),
        (b'<?xml version="1.0"?><rows/>', "an XML document"),
        (b"\0" * 5_000, "nothing but NUL bytes"),
        (b"BZh91AY&SY", "compressed with bzip2"),
        ("a,b\n1,2\n".encode("utf-32"), "UTF-32"),
    ],
)
def test_a_file_that_is_no_text_is_named(head: bytes, kind: str) -> None:
    """By its first bytes, whatever its name says."""
    assert kind_of(head) == kind


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"a",
        b"MZ,a\n1,2\n",
        b"PK,a\n",
        b"BZh1,a\n",
        b"a\0b,c\n1,2\n",
        "é,ü\n1,2\n".encode(),
        b"ORCID,name\n",
        b"orc\0id,name\n",
        b"PAR1\n1\n",
        b"FEA1\tb\n",
        b"<html_id>,b\n",
        b"x" * 257 + b"ustar\n",
    ],
)
def test_text_is_left_alone(head: bytes) -> None:
    """Also where it begins like something else, or has a NUL byte in it."""
    assert (kind_of(head), unmarked(head)) == ("", "")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_is_told_by_its_zeros(encoding: str) -> None:
    """No mark is needed."""
    assert unmarked("é,b\n1,2\n".encode(encoding)) == encoding
