"""JSON lines: cut at line feeds, read one object a line."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chalicelib.files.cutting import Range
from chalicelib.files.dialect import Format, Layout
from chalicelib.files.json_lines import MAX_DEPTH, JsonLine, read_objects
from chalicelib.files.ranges import ranges
from chalicelib.files.records import MAX_RECORD_BYTES

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
OBJECTS = st.dictionaries(st.text(max_size=4), VALUES, max_size=4)
LINES = st.lists(st.tuples(OBJECTS, st.sampled_from(["\n", "\r\n", "\n\n", " \n", "\n\t\n", "\r\n\r\n"])), max_size=8)
PIECES = st.text(st.sampled_from('{}[]",:\\\n\n\r\r  \t1aé😀\u0a0a'), max_size=80)


def _cut(data: bytes, encoding: str, *, max_rows: int = 3, max_bytes: int = 60, block: int = 7) -> list[Range]:
    blocks = (data[begin : begin + block] for begin in range(0, len(data), block))
    layout = Layout(format=Format.JSONL, encoding=encoding)
    return list(ranges(blocks, layout, max_rows=max_rows, max_bytes=max_bytes))


def _read(data: bytes, found: list[Range], encoding: str) -> Iterator[JsonLine]:
    for each in found:
        yield from read_objects(data[each.start : each.end], each.first_line, encoding)


@given(
    lines=LINES,
    ascii_only=st.booleans(),
    encoding=st.sampled_from(["utf-8", "utf-16-le", "utf-16-be"]),
    max_rows=st.integers(1, 4),
    block=st.integers(1, 40),
    is_ended=st.booleans(),
)
def test_chunk_by_chunk_equals_the_whole(
    lines: list[tuple[dict[str, object], str]],
    ascii_only: bool,
    encoding: str,
    max_rows: int,
    block: int,
    is_ended: bool,
) -> None:
    """Compared with Python's json module, line by line; seams may be anywhere."""
    text = "".join(json.dumps(found, ensure_ascii=ascii_only) + end for found, end in lines)
    text = text if is_ended else text.rstrip()
    data = text.encode(encoding)
    found = _cut(data, encoding, max_rows=max_rows, block=block)
    read = list(_read(data, found, encoding))
    whole = [(number, json.loads(line)) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    assert not any(each.reason for each in read)
    assert [
        (each.line, {name: json.loads(bytes(value)) for name, value in each.values.items()}) for each in read
    ] == whole
    assert [each.rows for each in found] == [len(list(_read(data, [each], encoding))) for each in found]
    assert all(each.rows <= max_rows for each in found)


@given(
    text=PIECES,
    encoding=st.sampled_from(["utf-8", "latin-1", "utf-16-le"]),
    max_rows=st.integers(1, 4),
    block=st.integers(1, 40),
)
@example(text='{"a":1}\r\n \t\r\n{"a":"\r"}', encoding="utf-16-le", max_rows=1, block=1)
def test_ranges_do_not_depend_on_what_is_at_hand(text: str, encoding: str, max_rows: int, block: int) -> None:
    """Of any lines: each that has more than white space is one row, with its line, and is read once."""
    data = text.encode(encoding, "ignore")
    found = _cut(data, encoding, max_rows=max_rows, block=block)
    assert found == _cut(data, encoding, max_rows=max_rows, block=10_000)
    lines = data.decode(encoding).split("\n")
    expected = [number for number, line in enumerate(lines, start=1) if line.strip(" \t\r")]
    assert [each.line for each in _read(data, found, encoding)] == expected
    assert [each.rows for each in found] == [len(list(_read(data, [each], encoding))) for each in found]


def test_a_line_of_any_length_is_one_row() -> None:
    """One over the limit is a range of its own, that says why it cannot be read; white space counts."""
    long = b'{"a":"' + b"x" * MAX_RECORD_BYTES + b'"}\n'
    data = b'{"a":1}\n' + long + b" \n" + b'{"a":2}' + b" " * MAX_RECORD_BYTES + b'\n{"a":3}'
    for block in (5_000, 700_001, 10**9):
        found = _cut(data, "utf-8", max_bytes=1_000, block=block)
        assert [(each.first_line, each.rows, each.unreadable[:25]) for each in found] == [
            (1, 1, ""),
            (2, 1, "the line is 1,048,585 byt"),
            (4, 1, "the line is 1,048,584 byt"),
            (5, 1, ""),
        ]
        assert data[found[3].start : found[3].end] == b'{"a":3}'


def test_a_line_larger_than_a_chunk_is_cut_alone() -> None:
    """It is a record as long as it is below the limit."""
    data = b'{"a":1}\n{"a":"' + b"x" * 5_000 + b'"}\n{"a":2}\n{"a":3}'
    assert [each.rows for each in _cut(data, "utf-8", max_bytes=100, block=999)] == [1, 1, 2]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"[1]", "expected an object, got array"),
        (b"null", "expected an object, got null"),
        (b'"a"', "expected an object, got str"),
        (b"12", "expected an object, got int"),
        (b"{'a': 1}", "no JSON: object keys must be strings (near byte 1)"),
        (b'{"a":NaN}', "no JSON: invalid character (near byte 5)"),
        (b'{"a":-Infinity}', "no JSON: invalid character (near byte 6)"),
        (b'{"a":01}', "no JSON: invalid number (near byte 6)"),
        (b'{"a":1} {"a":2}', "no JSON: trailing characters (near byte 9)"),
        (b'{"a":1}\r{"a":2}', "no JSON: trailing characters (near byte 9)"),
        (b'{"a":1', "no JSON: it breaks off"),
        (b"a,b", "no JSON: invalid character (near byte 0)"),
        (b'{"a":"x\ty"}', "no JSON: invalid character (near byte 7)"),
        (b'{"a":1,"a":2}', "the name 'a' comes twice"),
        (b'{"a" :1, "\\u0061" : ":"}', "the name 'a' comes twice"),
        (b'{"b":{"a":[{"c":1,"c":2}]}}', "the name 'c' comes twice"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "objects and arrays are nested over 100 deep"),
        (b'{"a":' * MAX_DEPTH + b"{}" + b"}" * MAX_DEPTH, "objects and arrays are nested over 100 deep"),
        (b'{"a":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}", "objects and arrays are nested over 100 deep"),
        (b'{"a":"\\udc00", "b": "something else"}', "no JSON: a \\u escape is half of a character"),
        (b'{"a":"\\uD83D\\u0061"}', "no JSON: a \\u escape is half of a character"),
        (b'{"a\\ud83d":1}', "no JSON: a \\u escape is half of a character"),
        (b'{"a":["\\ud83d"]}', "no JSON: a \\u escape is half of a character"),
        (b'{"a":"caf\xe9"}', "byte 0xe9 at character 10 is not UTF-8"),
    ],
)
def test_a_line_that_is_no_object_has_a_reason(line: bytes, reason: str) -> None:
    """The lines beside it are read."""
    first, found, last = read_objects(b'{"a":"\xc3\xa9"}\n' + line + b'\n{"b":2}', 7, "utf-8")
    assert (found.line, found.reason) == (8, reason)
    assert (first.reason, last.reason, bytes(last.values["b"])) == ("", "", b"2")


@pytest.mark.parametrize(
    "line",
    [
        b'{"a":' + b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1) + b"}",
        b'{"a":"' + b"[" * 500 + b'"}',
        b'{"a":[' + b"[]," * 500 + b"[]]}",
        b'{"a":' + b"9" * 50_000 + b"}",
        b'{"a":{"a":1},"b":{"a":1}}',
        b'{"a":"\\"a\\":","b":"\\\\"}',
        b"{}",
    ],
)
def test_an_object_that_looks_odd_is_one(line: bytes) -> None:
    """Brackets in texts nest nothing, and a name may come once in each object."""
    (found,) = read_objects(line, 1, "utf-8")
    assert found.reason == ""
    assert {name: bytes(value) for name, value in found.values.items()}.keys() == json.loads(line, parse_int=str).keys()
