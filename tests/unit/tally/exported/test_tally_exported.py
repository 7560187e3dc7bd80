"""Fetched results: they are fetched whole, and whatever is changed in them is named."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from chalicelib.store.exports import Exports
from tally import results
from tally.errors import OperatorError
from tally.exported.fetch import fetch, require_export
from tally.exported.verify import Verified, verify
from tally.testing.pipeline import Pipeline
from tests.support.builders import table
from tests.support.exports import silent_output

HEADER = b"office_id,user_count,contract_count\n"
SOURCE = HEADER + b"".join(b"o%d,%d,2\n" % (row, row) for row in range(9)) + b'\n"o\n9",x,1\no10,1,2\n'
FIRST, SECOND = "results-000001.jsonl.gz", "results-000002.jsonl.gz"


@pytest.fixture
def batch_id(pipeline: Pipeline) -> str:
    """Return a batch that was exported."""
    batch_id = pipeline.upload("inbox/offices/day.csv", SOURCE)
    pipeline.drain()
    return batch_id


@pytest.fixture
def folder(pipeline: Pipeline, batch_id: str, downloads: Any, tmp_path: Path) -> Path:
    """Return a folder with fetched results."""
    _fetch(pipeline, batch_id, downloads, tmp_path / "results")
    return tmp_path / "results"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "day.csv"
    path.write_bytes(SOURCE)
    return path


def _fetch(pipeline: Pipeline, batch_id: str, downloads: Any, folder: Path) -> None:
    exports = Exports(table=table(pipeline.dynamodb))
    export = require_export(exports, pipeline.batch(batch_id), None, timeout=0)
    results.check("results", fetch(silent_output(), downloads, "inbox", export, folder).as_json())


def _problems(folder: Path, source: Path | None = None) -> list[str]:
    found: Verified = verify(folder, source)
    results.check("verify", found.as_json())
    return found.problems


def _rewrite(folder: Path, name: str, lines: list[bytes]) -> None:
    """Replace a part by other lines, and let the manifest agree with its bytes."""
    data = gzip.compress(b"".join(lines), mtime=0)
    (folder / name).write_bytes(data)


def test_fetched_results_are_whole_and_those_of_their_source(folder: Path, source: Path) -> None:
    assert verify(folder, source).rows == 11
    assert _problems(folder, source) == []


def test_the_source_may_be_compressed(pipeline: Pipeline, downloads: Any, tmp_path: Path) -> None:
    packed = gzip.compress(SOURCE, mtime=0)
    batch_id = pipeline.upload("inbox/offices/day.csv.gz", packed)
    pipeline.drain()
    _fetch(pipeline, batch_id, downloads, tmp_path / "results")
    (tmp_path / "day.csv.gz").write_bytes(packed)
    assert _problems(tmp_path / "results", tmp_path / "day.csv.gz") == []


def test_what_is_there_and_right_is_not_fetched_again(
    pipeline: Pipeline, batch_id: str, downloads: Any, folder: Path
) -> None:
    (folder / SECOND).write_bytes(b"half of i")
    downloads.asked.clear()
    _fetch(pipeline, batch_id, downloads, folder)
    assert [key.rpartition("/")[2] for key in downloads.asked] == ["manifest.json", SECOND]
    assert _problems(folder) == []


def test_a_file_that_arrives_changed_is_refused(
    pipeline: Pipeline, batch_id: str, downloads: Any, tmp_path: Path
) -> None:
    (place,) = [place for place in pipeline.s3.objects if place[0].endswith(FIRST)]
    pipeline.s3.objects[place] += b"x"
    with pytest.raises(OperatorError, match=f"{FIRST} has another SHA-256"):
        _fetch(pipeline, batch_id, downloads, tmp_path)
    assert not (tmp_path / FIRST).exists()
    assert not (tmp_path / "manifest.json").exists()


def test_results_that_have_expired_are_named(pipeline: Pipeline, batch_id: str, downloads: Any, tmp_path: Path) -> None:
    pipeline.s3.objects.clear()
    with pytest.raises(OperatorError, match="is gone: results were kept until 20"):
        _fetch(pipeline, batch_id, downloads, tmp_path)


def test_results_that_are_not_written_yet_are_no_results(pipeline: Pipeline, tmp_path: Path) -> None:
    batch_id = pipeline.upload("inbox/offices/day.csv", SOURCE)
    while work := [what for what in pipeline.work() if what != "export"]:
        for what in work:
            pipeline.deliver(what, most=1000)
    exports = Exports(table=table(pipeline.dynamodb))
    with pytest.raises(OperatorError, match="still being written, 0 of 4 files so far"):
        require_export(exports, pipeline.batch(batch_id), None, timeout=0)
    assert tmp_path


@pytest.mark.parametrize("name", [FIRST, SECOND, "failed.csv"])
def test_every_flipped_byte_is_named(folder: Path, name: str) -> None:
    whole = (folder / name).read_bytes()
    for place in range(len(whole)):
        (folder / name).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert any(problem.startswith(f"{name}: was changed") for problem in verify(folder).problems)


@pytest.mark.parametrize("name", [FIRST, SECOND, "failed.csv"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert f"{name}: is missing" in _problems(folder)


def test_a_file_that_is_not_of_the_export_is_named(folder: Path) -> None:
    (folder / "results-000009.jsonl.gz").write_bytes(b"")
    assert _problems(folder) == ["results-000009.jsonl.gz: is not in manifest.json"]


def test_a_doubled_row_is_named(folder: Path) -> None:
    lines = gzip.decompress((folder / SECOND).read_bytes()).splitlines(keepends=True)
    _rewrite(folder, SECOND, [*lines[:2], lines[1], *lines[2:]])
    assert f"{SECOND}: row 1:1, line 7 comes twice or out of order" in _problems(folder)


def test_a_row_that_is_left_out_is_named(folder: Path) -> None:
    lines = gzip.decompress((folder / SECOND).read_bytes()).splitlines(keepends=True)
    _rewrite(folder, SECOND, [lines[0], *lines[2:]])
    assert f"{SECOND}: rows are missing before row 1:2, line 8" in _problems(folder)


def test_rows_in_another_order_are_named(folder: Path) -> None:
    lines = gzip.decompress((folder / SECOND).read_bytes()).splitlines(keepends=True)
    _rewrite(folder, SECOND, [lines[1], lines[0], *lines[2:]])
    assert any("out of order" in problem for problem in _problems(folder))


def test_another_source_is_named(folder: Path, source: Path) -> None:
    source.write_bytes(SOURCE + b"o11,1,2\n")
    assert "it is another file" in _problems(folder, source)[0]
    source.write_bytes(SOURCE.replace(b"o3,3,2\n", b"\no3,3,2"))
    assert "a row begins at line 6, and in the results at line 5" in _problems(folder, source)[0]


def test_a_folder_without_a_manifest_says_what_fetches_one(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="tally results ID"):
        verify(tmp_path)


def test_the_manifest_of_a_later_schema_is_refused(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"schema_version": 2}))
    with pytest.raises(OperatorError, match="schema version 2"):
        verify(folder)
