"""Cutting a CSV stream where its records end, and nowhere else."""

import csv
import io
import itertools
import tracemalloc
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chalicelib.files import boundaries
from chalicelib.files.boundaries import split
from chalicelib.files.cutting import Range
from chalicelib.files.dialect import DELIMITERS
from chalicelib.files.records import MAX_RECORD_BYTES, CsvRecord, read_lines, read_range, read_records

# Few characters, so that every combination of quotes, commas and line ends comes up.
TEXTS = st.text(alphabet='ab,"\n\r', max_size=60)
# The pieces that the fast paths must tell apart.
PIECES = st.lists(
    st.sampled_from(
        ["a", "b", " ", ",", '"', '""', "__", "\n", "\r\n", "\r", '"x"', ',"', '",', '"\n', '\n"', '"a\nb"']
    ),
    max_size=30,
).map("".join)
# Lines that leave a quote open, also where one is open already, and lines that close it.
HARMFUL = st.lists(
    st.sampled_from(['"a"b,"c\n', '"\n', 'x"\n', "g,h\n", '"q","r"\n', "\n", "\r\n", "\r", "i" * 17]), max_size=20
).map("".join)
TABLES = st.lists(st.lists(st.text(alphabet="aé €\n\r\",'", max_size=8), min_size=1, max_size=4), max_size=12)


def _cut(data: bytes, *, max_rows: int, max_bytes: int, block: int, delimiter: str = ",") -> list[Range]:
    blocks = (data[begin : begin + block] for begin in range(0, len(data), block))
    return list(split(blocks, max_rows=max_rows, max_bytes=max_bytes, delimiter=delimiter))


class _Row(NamedTuple):
    """A row by the definition, or the line that stands for one that cannot be read; offsets are of the file."""

    start: int
    end: int
    readable: bool
    too_long: bool


def _rows(data: bytes, longest: int) -> Iterator[_Row]:
    start = 0
    while start < len(data):
        record = next(read_records(data[start:].decode("latin-1")))
        line = len(next(iter(io.StringIO(data[start:].decode("latin-1"), newline=""))))
        readable = not record.unclosed and record.length <= longest
        length = record.length if readable else line
        if record.cells:
            yield _Row(start, start + length, readable, line > longest)
        start += length


def _defined(data: bytes, *, max_rows: int, max_bytes: int, longest: int) -> list[Range]:
    """Cut by the definition, row by row, with all of the file at hand."""
    ranges: list[list[_Row]] = []
    for row in _rows(data, longest):
        group = ranges[-1] if ranges else []
        fits = group and len(group) < max_rows and row.end - group[0].start <= min(max_bytes, longest)
        if fits and not row.too_long and not group[0].too_long and (row.readable or not group[0].readable):
            group.append(row)
        else:
            ranges.append([row])
    return [
        Range(
            group[0].start,
            group[-1].end,
            1 + len(list(io.StringIO(data[: group[0].start].decode("latin-1"), newline=""))),
            len(group),
            _too_long(group[0], longest) if group[0].too_long else "",
        )
        for group in ranges
    ]


def _too_long(row: _Row, longest: int) -> str:
    return f"the line is {row.end - row.start:,} bytes long; the longest record may have {longest:,}"


def _between(data: bytes, ranges: list[Range]) -> Iterator[bytes]:
    ends = [0, *(found.end for found in ranges)]
    return (data[end:start] for end, start in zip(ends, [*(found.start for found in ranges), len(data)], strict=True))


@given(text=TEXTS, max_rows=st.integers(1, 5), max_bytes=st.integers(1, 30), block=st.integers(1, 30))
@example(text='a"b\n"c\r\n', max_rows=1, max_bytes=3, block=1)
@example(text="a\r\nb\rc\n", max_rows=1, max_bytes=2, block=2)
@example(text='"a"b,"c\nd\n"a"b,"c\n', max_rows=3, max_bytes=30, block=3)
def test_chunks_hold_the_rows_of_the_file_in_order_and_nothing_but_blank_lines_is_between_them(
    text: str, max_rows: int, max_bytes: int, block: int
) -> None:
    """Of any text: no overlap, no row without a chunk, no chunk without a row, the line numbers of an editor."""
    data = text.encode()
    ranges = _cut(data, max_rows=max_rows, max_bytes=max_bytes, block=block)
    assert set(b"".join(_between(data, ranges))) <= set(b"\r\n")
    read: list[list[str]] = []
    for found in ranges:
        before = data[: found.start].decode()
        assert found.first_line == 1 + len(list(io.StringIO(before, newline="")))
        records = list(read_range(data[found.start : found.end].decode()))
        assert 0 < found.rows == sum(bool(record.cells) for record in records) <= max_rows
        assert records[0].cells
        assert records[-1].cells
        assert found.end - found.start <= max_bytes or found.rows == 1
        read += [record.cells for record in records if record.cells and not record.unclosed]
    if not any(record.unclosed for record in read_records(text)):
        assert read == [cells for cells in csv.reader(io.StringIO(text, newline="")) if cells]


@given(table=TABLES, end=st.sampled_from(["\n", "\r\n"]), max_rows=st.integers(1, 4), block=st.integers(1, 40))
def test_a_file_that_a_csv_writer_wrote_has_no_unreadable_chunk(
    table: list[list[str]], end: str, max_rows: int, block: int
) -> None:
    """Quoted line ends, quotes and delimiters in cells are all inside of records."""
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator=end).writerows(table)
    data = out.getvalue().encode()
    ranges = _cut(data, max_rows=max_rows, max_bytes=64, block=block)
    assert not any(found.unreadable for found in ranges)
    text = b"".join(data[found.start : found.end] for found in ranges).decode()
    rows = [cells for cells in csv.reader(io.StringIO(out.getvalue(), newline="")) if cells]
    assert [cells for cells in csv.reader(io.StringIO(text, newline="")) if cells] == rows


@given(text=TEXTS, block=st.integers(1, 30), max_bytes=st.integers(1, 30))
def test_cuts_do_not_depend_on_how_the_stream_arrives(text: str, block: int, max_bytes: int) -> None:
    """A second plan, whose reads break elsewhere, must find the same chunks."""
    data = text.encode()
    whole = _cut(data, max_rows=3, max_bytes=max_bytes, block=len(data) + 1)
    assert _cut(data, max_rows=3, max_bytes=max_bytes, block=block) == whole


@given(data=st.data(), text=TEXTS | PIECES | HARMFUL, block=st.integers(1, 30), max_bytes=st.integers(1, 30))
def test_a_plan_that_goes_on_at_any_chunk_finds_those_that_the_first_one_would_have(
    short_records: None, data: st.DataObject, text: str, block: int, max_bytes: int
) -> None:
    """It knows nothing of what comes before: no quote that is open, no size of a chunk."""
    content = text.encode()
    ranges = _cut(content, max_rows=3, max_bytes=max_bytes, block=block)
    begun = data.draw(st.integers(0, len(ranges)))
    for found in ranges[begun : begun + 1]:
        rest = content[found.start :]
        blocks = (rest[begin : begin + block] for begin in range(0, len(rest), block))
        again = split(blocks, max_rows=3, max_bytes=max_bytes, offset=found.start, first_line=found.first_line)
        assert list(again) == ranges[begun:]


@given(
    text=st.text(alphabet='abcdef,"\n\r', max_size=200) | HARMFUL,
    max_rows=st.integers(1, 6),
    max_bytes=st.integers(1, 30),
    block=st.integers(1, 200),
)
@example(text='a\n"b\nc\nd,"e"f,"g\n"h\n' + "i\n" * 9, max_rows=6, max_bytes=30, block=7)
@example(text='"a"b,"c\n' * 9 + 'x"\n' + "y\n" * 9, max_rows=4, max_bytes=30, block=50)
@example(text='"a"b,"c\n' * 2 + 'x"yyyyy\n' + "z\n" * 9, max_rows=6, max_bytes=30, block=50)
@example(text="a\n\nb", max_rows=6, max_bytes=30, block=50)
@example(text="a\nb\rccccccccc", max_rows=6, max_bytes=5, block=50)
def test_chunks_are_those_of_the_definition_however_the_stream_arrives(
    short_records: None, text: str, max_rows: int, max_bytes: int, block: int
) -> None:
    """Also where lines are too long and quotes are never closed, or not in time."""
    data = text.encode()
    ranges = _cut(data, max_rows=max_rows, max_bytes=max_bytes, block=block)
    assert ranges == _defined(data, max_rows=max_rows, max_bytes=max_bytes, longest=16)
    for found in ranges:
        if not found.unreadable:  # what ingest will find
            read = [record for record in read_range(data[found.start : found.end].decode()) if record.cells]
            expected = [row for row in _rows(data, 16) if found.start <= row.start < found.end]
            assert [record.unclosed for record in read] == [not row.readable for row in expected]


@pytest.mark.parametrize("longest", [16, MAX_RECORD_BYTES])
@given(text=PIECES, max_rows=st.integers(1, 6), max_bytes=st.integers(1, 60))
@example(text='"""a""",b\n"c\n', max_rows=5, max_bytes=60)
@example(text='a"b,"c",",\n"\n', max_rows=5, max_bytes=60)
@example(text='""\n\n"a\n\nb"\n', max_rows=6, max_bytes=60)
@example(text="a\n\ra", max_rows=2, max_bytes=3)
def test_the_fast_paths_cut_as_the_csv_module_does(longest: int, text: str, max_rows: int, max_bytes: int) -> None:
    """With any characters around a quote."""
    data = text.encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(boundaries, "MAX_RECORD_BYTES", longest)
        cut = _cut(data, max_rows=max_rows, max_bytes=max_bytes, block=len(data) + 1)
        patch.setattr(boundaries._Cutter, "_cut_lines", lambda *_, **__: None)
        assert cut == _cut(data, max_rows=max_rows, max_bytes=max_bytes, block=len(data) + 1)


@given(text=PIECES, delimiter=st.sampled_from(sorted(DELIMITERS)), max_rows=st.integers(1, 6), block=st.integers(1, 40))
@example(text='a,"x\n,y"\n', delimiter="|", max_rows=1, block=3)
def test_chunk_by_chunk_equals_the_whole_with_any_delimiter(
    text: str, delimiter: str, max_rows: int, block: int
) -> None:
    """A quote opens a cell after the delimiter; a comma then is a character like any other."""
    data = text.translate({ord(","): delimiter, ord("_"): ","}).encode()
    whole = [record.cells for record in read_range(data.decode(), delimiter) if record.cells]
    ranges = _cut(data, max_rows=max_rows, max_bytes=60, block=block, delimiter=delimiter)
    chunks = [list(read_range(data[found.start : found.end].decode(), delimiter)) for found in ranges]
    assert [record.cells for records in chunks for record in records if record.cells] == whole
    assert [found.rows for found in ranges] == [sum(bool(record.cells) for record in records) for records in chunks]


def test_whole_quoted_cells_need_no_csv_module_with_any_delimiter(lines_read: list[str]) -> None:
    """The fast path is as fast for semicolons."""
    data = b'a;"b; c"\n"d\ne";"f ""g"""\n' * 4
    assert [found.rows for found in _cut(data, max_rows=6, max_bytes=1000, block=1000, delimiter=";")] == [6, 2]
    assert lines_read == []


@pytest.fixture
def lines_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keep every line that the csv module is given."""
    read: list[str] = []

    def watch(lines: Iterable[str], delimiter: str) -> Iterator[CsvRecord]:
        seen = (read.append(line) or line for line in lines)  # type: ignore[func-returns-value]
        return read_lines(seen, delimiter)

    monkeypatch.setattr(boundaries, "read_lines", watch)
    return read


def test_whole_quoted_cells_and_blank_lines_need_no_csv_module(lines_read: list[str]) -> None:
    """The fast path is taken where it matters: quoted line ends, commas and quotes."""
    data = b'a,"b, c"\r\n\r\n"d\ne","f ""g"""\r\n' * 4
    assert [found.rows for found in _cut(data, max_rows=6, max_bytes=1000, block=1000)] == [6, 2]
    assert lines_read == []


def test_a_chunk_holds_as_many_rows_as_it_may_whatever_lines_they_take() -> None:
    """Neither a blank line nor a line end in a cell is a row."""
    for data in (b"a,b\n" * 10, b"a,b\n\n\r\n" * 10, b'"a\n\n",b\n' * 10, b"a\rb\r" * 5):
        ranges = _cut(data, max_rows=4, max_bytes=1000, block=7)
        assert [found.rows for found in ranges] == [4, 4, 2]
    assert [found.first_line for found in _cut(b"\na,b\n" * 10, max_rows=4, max_bytes=1000, block=7)] == [2, 10, 18]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("block", [1, 1000, 2**21])
def test_blank_lines_are_no_chunk(end: bytes, block: int) -> None:
    """At the beginning, at the end, and between rows that are too far apart to be in one chunk."""
    lines = 100 if block == 1 else 1_000_000
    assert _cut(end * lines, max_rows=2, max_bytes=50, block=block) == []
    data = end * lines + b"a" + end * lines + b"b" + end * lines
    assert [
        (data[found.start : found.end], found.first_line, found.rows)
        for found in _cut(data, max_rows=2, max_bytes=50, block=block)
    ] == [
        (b"a" + end, lines + 1, 1),
        (b"b" + end, 2 * lines + 1, 1),
    ]


def test_blank_lines_are_lines_but_not_rows() -> None:
    """The line numbers stay those of an editor; a line of nothing but spaces is a row."""
    assert _cut(b"a\n\n\r\nb\n \n\n", max_rows=9, max_bytes=100, block=100) == [Range(0, 9, 1, 3)]


# Leaves a quote open, whether or not one is open where it begins.
OPEN = b'"a"b,"c\n'


@pytest.mark.parametrize(
    ("piece", "most_read", "most_chunks"),
    [
        pytest.param(OPEN, 3.2, 1, id="open"),
        pytest.param(b"g,h\n" + OPEN, 3.2, 2, id="open by turns"),
        pytest.param(b"g,h\n" * 700 + OPEN, 3.2, 2, id="open now and then"),
        pytest.param(OPEN * 9_400 + b'x"\n', 3.2, 1.1, id="open, and closed too late"),
        pytest.param(b'5" disk,b\n', 1.1, 1, id="quotes in cells"),
        pytest.param(b"a\r", 1.1, 1, id="carriage returns"),
        pytest.param(b'"' + b"x\n" * 21_000 + b'"\n', 1.1, 1, id="long records of short lines"),
    ],
)
def test_the_csv_module_reads_a_byte_few_times_and_chunks_stay_full(
    monkeypatch: pytest.MonkeyPatch, lines_read: list[str], piece: bytes, most_read: float, most_chunks: float
) -> None:
    """The end of an open quote is looked for once in a block, and not from each line that opens one.

    All sizes are a sixteenth of the real ones.
    """
    monkeypatch.setattr(boundaries, "MAX_RECORD_BYTES", 2**16)
    data = piece * (500_000 // len(piece))
    ranges = _cut(data, max_rows=500, max_bytes=2**14, block=2**17)
    assert sum(map(len, lines_read)) <= most_read * len(data)
    rows = sum(found.rows for found in ranges)
    fewest = max(rows / 500, min(rows, len(data) / 2**14))
    assert len(ranges) <= most_chunks * fewest + 2


@pytest.fixture
def short_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make records longer than 16 bytes too long, so that examples can be read."""
    monkeypatch.setattr(boundaries, "MAX_RECORD_BYTES", 16)


@pytest.mark.parametrize("block", [1, 5, 1000])
def test_a_quote_that_never_closes_harms_its_own_line_alone(short_records: None, block: int) -> None:
    """The csv module would swallow the rest of the file."""
    data = b'a,1\n"b,2\nc,3\nd,4\ne,5\nf,6\ng,7\n'
    ranges = _cut(data, max_rows=9, max_bytes=100, block=block)
    assert _read_back(data, ranges) == ["a", None, "c", "d", "e", "f", "g"]
    assert [found.first_line for found in ranges][:2] == [1, 2]


def test_a_quote_that_is_open_at_the_end_harms_its_own_line_alone() -> None:
    """Also when the file ends before a record would be too long."""
    data = b'a,1\n"b,2\nc,3\n'
    assert _read_back(data, _cut(data, max_rows=9, max_bytes=100, block=100)) == ["a", None, "c"]


def _read_back(data: bytes, ranges: list[Range]) -> list[str | None]:
    """Return the first cell of each row of the chunks, None for what cannot be read."""
    return [
        None if record.unclosed else record.cells[0]
        for found in ranges
        for record in read_range(data[found.start : found.end].decode())
    ]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("block", [1, 3, 1000])
def test_a_line_too_long_for_a_record_is_one_unreadable_row(short_records: None, end: bytes, block: int) -> None:
    """Its bytes are forgotten as they come; the next line is read as if nothing had been."""
    data = b"a" + end + b"x" * 400 + end + b"b" + end
    ranges = _cut(data, max_rows=9, max_bytes=10, block=block)
    assert [found.rows for found in ranges] == [1, 1, 1]
    assert "400" in ranges[1].unreadable or str(400 + len(end)) in ranges[1].unreadable
    assert data[ranges[2].start : ranges[2].end] == b"b" + end
    assert ranges[2].first_line == 3


def test_a_long_last_line_without_an_end_is_one_unreadable_row(short_records: None) -> None:
    """No byte is lost at the end of the file either."""
    ranges = _cut(b"a\n" + b"x" * 400, max_rows=9, max_bytes=10, block=50)
    assert [(found.start, found.end, found.rows) for found in ranges] == [(0, 2, 1), (2, 402, 1)]


def _peak(line: bytes, blocks: int) -> int:
    block = line * (1_048_576 // len(line))
    ranges = split(itertools.repeat(block, blocks), max_rows=500, max_bytes=262_144)
    tracemalloc.start()
    try:
        assert sum(found.end - found.start for found in ranges) == blocks * len(block)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "line",
    [b"a" * 200 + b",b\n", b"a" * 200 + b',"b, ""c""",d\n', b"a" * 200 + b',"b\n\nc"\n', b"x" * 700_000 + b"\n", b"x"],
)
def test_memory_does_not_grow_with_the_file(line: bytes) -> None:
    """Nor with a line that never ends: a file of 10 GB takes what one of 4 MB does."""
    assert _peak(line, 20) < 1.1 * _peak(line, 4)
