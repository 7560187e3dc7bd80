"""Cutting a CSV stream where its records end, and nowhere else."""

import csv
import io
import itertools
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chalicelib.files import boundaries
from chalicelib.files.boundaries import CsvRecord, Range, read_records, split

# Few characters, so that every combination of quotes, commas and line ends comes up.
TEXTS = st.text(alphabet='ab,"\n\r', max_size=60)
# The pieces that the fast paths must tell apart.
PIECES = st.lists(
    st.sampled_from(
        ["a", "b", " ", ",", '"', '""', "__", "\n", "\r\n", "\r", '"x"', ',"', '",', '"\n', '\n"', '"a\nb"']
    ),
    max_size=30,
).map("".join)
TABLES = st.lists(st.lists(st.text(alphabet="aé €\n\r\",'", max_size=8), min_size=1, max_size=4), max_size=12)


def _cut(data: bytes, *, max_rows: int, max_bytes: int, block: int) -> list[Range]:
    blocks = (data[begin : begin + block] for begin in range(0, len(data), block))
    return list(split(blocks, max_rows=max_rows, max_bytes=max_bytes))


def _chunk_by_chunk(data: bytes, ranges: list[Range]) -> list[list[str]]:
    return [
        record.cells for found in ranges for record in read_records(data[found.start : found.end].decode("latin-1"))
    ]


@given(text=TEXTS, max_rows=st.integers(1, 5), max_bytes=st.integers(1, 30), block=st.integers(1, 30))
@example(text='a"b\n"c\r\n', max_rows=1, max_bytes=3, block=1)
@example(text="a\r\nb\rc\n", max_rows=1, max_bytes=2, block=2)
def test_chunks_concatenate_to_the_file_and_parse_as_the_file_does(
    text: str, max_rows: int, max_bytes: int, block: int
) -> None:
    """Whatever the text: no gap, no overlap, the csv module's records, its line numbers and the count of rows."""
    data = text.encode()
    ranges = _cut(data, max_rows=max_rows, max_bytes=max_bytes, block=block)
    assert b"".join(data[found.start : found.end] for found in ranges) == data
    for found in ranges:
        before = data[: found.start].decode()
        assert found.first_line == 1 + len(list(io.StringIO(before, newline="")))
    if not any(found.unreadable for found in ranges):
        assert _chunk_by_chunk(data, ranges) == list(csv.reader(io.StringIO(text, newline="")))
    for found in ranges:
        records = list(read_records(data[found.start : found.end].decode()))
        assert found.rows == sum(bool(record.cells) for record in records)


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
    assert list(csv.reader(io.StringIO(text, newline=""))) == list(csv.reader(io.StringIO(out.getvalue(), newline="")))


@given(text=TEXTS, block=st.integers(1, 30), max_bytes=st.integers(1, 30))
def test_cuts_do_not_depend_on_how_the_stream_arrives(text: str, block: int, max_bytes: int) -> None:
    """A second plan, whose reads break elsewhere, must find the same chunks."""
    data = text.encode()
    whole = _cut(data, max_rows=3, max_bytes=max_bytes, block=len(data) + 1)
    assert _cut(data, max_rows=3, max_bytes=max_bytes, block=block) == whole


@given(text=st.text(alphabet='abcdef,"\n\r', max_size=200), block=st.integers(1, 200), max_bytes=st.integers(1, 30))
def test_lines_too_long_do_not_make_cuts_depend_on_how_the_stream_arrives(
    short_records: None, text: str, block: int, max_bytes: int
) -> None:
    """Nor do they lose a byte or a line."""
    data = text.encode()
    ranges = _cut(data, max_rows=3, max_bytes=max_bytes, block=block)
    assert ranges == _cut(data, max_rows=3, max_bytes=max_bytes, block=len(data) + 1)
    assert b"".join(data[found.start : found.end] for found in ranges) == data
    for found in ranges:
        assert found.first_line == 1 + len(list(io.StringIO(data[: found.start].decode(), newline="")))


@pytest.mark.parametrize("longest", [16, boundaries.MAX_RECORD_BYTES])
@given(text=PIECES, max_rows=st.integers(1, 6), max_bytes=st.integers(1, 60))
@example(text='"""a""",b\n"c\n', max_rows=5, max_bytes=60)
@example(text='a"b,"c",",\n"\n', max_rows=5, max_bytes=60)
@example(text='""\n\n"a\n\nb"\n', max_rows=6, max_bytes=60)
@example(text="a\n\ra", max_rows=2, max_bytes=3)
def test_the_fast_paths_cut_as_the_csv_module_does(longest: int, text: str, max_rows: int, max_bytes: int) -> None:
    """Whatever stands around a quote."""
    data = text.encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(boundaries, "MAX_RECORD_BYTES", longest)
        cut = _cut(data, max_rows=max_rows, max_bytes=max_bytes, block=len(data) + 1)
        patch.setattr(boundaries, "_cut_lines", lambda *_, **__: None)
        assert cut == _cut(data, max_rows=max_rows, max_bytes=max_bytes, block=len(data) + 1)


def test_whole_quoted_cells_need_no_csv_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fast path is taken where it matters: quoted line ends, commas and quotes."""
    read: list[str] = []

    def watch(text: str) -> Iterator[CsvRecord]:
        read.append(text)
        return read_records(text)

    monkeypatch.setattr(boundaries, "read_records", watch)
    data = b'a,"b, c"\r\n"d\ne","f ""g"""\r\n' * 4
    assert [found.rows for found in _cut(data, max_rows=6, max_bytes=1000, block=1000)] == [4, 4]
    assert read == [""]  # the end of the file


def test_a_chunk_holds_no_more_lines_than_it_may() -> None:
    """The partition of a chunk stays small."""
    ranges = _cut(b"a,b\n" * 10, max_rows=4, max_bytes=1000, block=7)
    assert [found.rows for found in ranges] == [4, 4, 2]
    assert [found.first_line for found in ranges] == [1, 5, 9]


def test_blank_lines_are_lines_but_not_rows() -> None:
    """The line numbers stay those of an editor."""
    assert _cut(b"a\n\n\r\nb\n", max_rows=9, max_bytes=100, block=100) == [Range(0, 7, 1, 2)]


@pytest.fixture
def short_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make records longer than 16 bytes too long, so that examples can be read."""
    monkeypatch.setattr(boundaries, "MAX_RECORD_BYTES", 16)


@pytest.mark.parametrize("block", [1, 5, 1000])
def test_a_quote_that_never_closes_harms_its_own_line_alone(short_records: None, block: int) -> None:
    """The csv module would swallow the rest of the file."""
    data = b'a,1\n"b,2\nc,3\nd,4\ne,5\nf,6\ng,7\n'
    ranges = _cut(data, max_rows=9, max_bytes=100, block=block)
    assert [found.unreadable != "" for found in ranges] == [False, True, False]
    assert ranges[1].first_line == 2
    assert "quote is opened" in ranges[1].unreadable
    assert sum(found.rows for found in ranges) == 7


def test_a_quote_that_is_open_at_the_end_harms_its_own_line_alone() -> None:
    """Also when the file ends before a record would be too long."""
    ranges = _cut(b'a,1\n"b,2\nc,3\n', max_rows=9, max_bytes=100, block=100)
    assert [(found.rows, bool(found.unreadable)) for found in ranges] == [(1, False), (1, True), (1, False)]


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
