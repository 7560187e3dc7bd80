"""The head of a file: its form, its columns, and the place where its rows begin."""

import codecs
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import msgspec

from chalicelib.errors import TallyError
from chalicelib.files.dialect import Format, Layout
from chalicelib.files.encodings import UTF_8, UTF_16, UTF_16_BE, UTF_16_LE, is_wide, marked, shown, to_utf_8, wide_size
from chalicelib.files.kinds import kind_of, unmarked
from chalicelib.files.records import MAX_RECORD_BYTES, read_records
from chalicelib.rows import Schema

_SHOWN = {Format.CSV: "CSV", Format.JSONL: "JSON lines"}
_JSON_SUFFIXES = {".json", ".jsonl", ".ndjson"}
_CSV_SUFFIXES = {".csv", ".tsv"}
_OPENINGS = (b"{", b"[")
_AS_LINES = "write one object a line, as jq -c '.[]' does"
_WHITE = b" \t\r\n"


class UnplannableError(TallyError):
    """The object cannot become rows of any job; the batch is rejected with this reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The head that planning begins with: the rows begin at byte ``start``, on line ``first_line``."""

    layout: Layout
    header: tuple[str, ...]
    start: int
    first_line: int


def read_head(schema: Schema, data: bytes, size: int, key: str) -> Head:
    """Read the head of a file of a size and a key; ``data`` is its first MiB, or all of it.

    Raises UnplannableError or HeaderError with a reason for the uploader.
    """
    kind = kind_of(data)
    if kind:
        raise UnplannableError(
            f"the file is {kind}; upload {_SHOWN[schema.dialect.layout.format]} as UTF-8, as it is or with gzip"
        )
    dialect = schema.dialect
    encoding, start = _encoding(data, dialect.layout.encoding)
    layout = replace(dialect.layout, encoding=encoding)
    text = to_utf_8(data[start:], encoding)[0] if is_wide(encoding) else data[start:]
    _refuse_another_format(schema, text, key, is_whole=len(data) == size)
    if dialect.header or layout.format is Format.JSONL:
        header = schema.header(dialect.header, 1) if dialect.header else ()
        return Head(layout=layout, header=header, start=start, first_line=1)
    line, length = 1, 0
    for record in read_records(text.decode("latin-1"), layout.delimiter):
        if record.unclosed:
            raise UnplannableError(f"line {line}: a quote is opened in the header and not closed")
        length += record.length
        if length == len(text) and len(data) < size:
            raise UnplannableError(f"line {line}: the header is longer than {MAX_RECORD_BYTES:,} bytes")
        if record.cells:
            header = schema.header(_decoded(record.cells, line, encoding), line)
            start += wide_size(text[:length]) if is_wide(encoding) else length
            return Head(layout=layout, header=header, start=start, first_line=line + record.lines)
        line += record.lines
    raise UnplannableError("line 1: the object is empty, not even a header")


def _refuse_another_format(schema: Schema, text: bytes, key: str, *, is_whole: bool) -> None:
    """Raise UnplannableError for a file that is not of the job's format, as far as its first line tells."""
    line, _, rest = text.lstrip(_WHITE).partition(b"\n")
    line, suffix = line.rstrip(), PurePosixPath(key.lower().removesuffix(".gz")).suffix
    first = _json_kind(line)
    if schema.dialect.layout.format is Format.CSV:
        if schema.dialect.header and suffix not in _JSON_SUFFIXES:
            return  # without a header any line may be a row, also one of JSON
        if first is dict:
            raise UnplannableError('line 1: the file looks like JSON lines: set FORMAT = "jsonl" in the job')
        is_document = line in _OPENINGS or (suffix in _JSON_SUFFIXES and line[:1] in _OPENINGS) or line[:2] == b"[{"
        if is_document:
            raise UnplannableError(f"line 1: the file looks like one JSON document: {_AS_LINES}")
        return
    if line in _OPENINGS or (first is None and rest and is_whole and _json_kind(text)):
        raise UnplannableError(f"line 1: the file is one JSON document, and not an object a line: {_AS_LINES}")
    is_other = first is None and line and line[:1] not in _OPENINGS
    if is_other and (suffix in _CSV_SUFFIXES or schema.fits_header(line)):
        raise UnplannableError('line 1: the file looks like CSV: set FORMAT = "csv" in the job, or upload JSON lines')


def _json_kind(text: bytes) -> type | None:
    """Return the kind of value that a text is in JSON; None if it is no JSON."""
    try:
        return type(msgspec.json.decode(text))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _decoded(cells: list[str], line: int, encoding: str) -> list[str]:
    """Return the cells of a header, which were read as one character a byte."""
    try:
        return [cell.encode("latin-1").decode(UTF_8 if is_wide(encoding) else encoding) for cell in cells]
    except UnicodeDecodeError as error:
        hint = "; set ENCODING in the job if the file has another" if encoding == UTF_8 else ""
        raise UnplannableError(f"line {line}: the header is not {shown(encoding)}: {error.reason}{hint}") from error


def _encoding(data: bytes, wanted: str) -> tuple[str, int]:
    """Return the encoding of a file, and the length of its byte order mark; raises UnplannableError for another.

    What has no mark, and looks like nothing else, has the encoding that the job says.
    """
    by_mark, length = marked(data)
    found = by_mark or unmarked(data)
    if found == wanted or (by_mark and is_wide(by_mark) and wanted == UTF_16):
        return found, length
    mark = "" if by_mark else " without a byte order mark"
    if is_wide(found):
        setting = UTF_16 if by_mark else found
        raise UnplannableError(
            f'the file is {shown(found)}{mark}: set ENCODING = "{setting}" in the job, or save it as {shown(wanted)}'
        )
    if found == UTF_8 or (data and _is_utf_8(data) and (wanted == UTF_16 or is_wide(wanted))):
        raise UnplannableError(f'the file is UTF-8: set ENCODING = "utf-8" in the job, or save it as {shown(wanted)}')
    if wanted == UTF_16 and data:
        raise UnplannableError(
            f'the file has no byte order mark: set ENCODING = "{UTF_16_LE}" or "{UTF_16_BE}" in the job if it is UTF-16'
        )
    return wanted, 0


def _is_utf_8(data: bytes) -> bool:
    """Tell whether the head of a file is text in UTF-8; UTF-16 has zeros, at least in its delimiters and line ends."""
    try:
        codecs.getincrementaldecoder(UTF_8)().decode(data)
    except UnicodeDecodeError:
        return False
    return b"\0" not in data
