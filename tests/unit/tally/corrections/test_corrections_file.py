"""A corrected file: in any form that uploads have, checked as a whole before anything is changed."""

import copy
import gzip
import io
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from chalicelib.store.items import Counts
from tally.corrections import matching
from tally.corrections.corrected_file import CorrectedFile
from tally.corrections.problems import MAX_SHOWN, Kind, Problem
from tally.corrections.run import Corrected
from tally.corrections.staging import Staging
from tally.errors import OperatorError
from tally.testing.pipeline import Pipeline
from tests.support.builders import deployed_job
from tests.support.correcting import HEADER, JOB, corrected, exported, outcomes, output, written
from tests.support.exports import exporting
from tests.support.redriving import check

CONTENT = b"kind,size\na,1\nb,x\nbroken,3\nd,4\ne,y\n"
"""Lines 2 to 6: 3 and 6 are rejected, 4 fails."""

Deploy = Callable[[str], None]


@pytest.fixture
def deploy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Deploy]:
    """Deploy the job `sizes` with more lines in its module."""
    folder = tmp_path / "jobs"
    folder.mkdir()
    with ExitStack() as deployed:
        yield lambda more: deployed.enter_context(deployed_job(monkeypatch, folder, "sizes", JOB + more))


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    return exporting(monkeypatch)


@pytest.fixture
def run(pipeline: Pipeline, tmp_path: Path) -> Callable[..., list[str]]:
    """Upload a file, correct rows of it with another, and return the results, or reasons, of all rows."""

    def ran(content: bytes, fixed: bytes, name: str = "day.csv", fixed_name: str = "corrected.csv") -> list[str]:
        batch_id = pipeline.upload(f"inbox/sizes/{name}", content)
        pipeline.drain()
        assert pipeline.batch(batch_id).status.final, pipeline.last_error
        path = tmp_path / fixed_name
        path.write_bytes(fixed)
        corrected(pipeline, batch_id, path)
        pipeline.drain()
        check(pipeline, batch_id)
        return [said for _, (_, said) in sorted(outcomes(pipeline, batch_id).items())]

    return ran


RESULTS = ["1", "20", "30", "4", "50"]


@pytest.mark.parametrize(
    "fixed",
    [
        "tally_line,tally_reason,kind,size\n3,x,b,20\n4,y,c,30\n6,z,e,50\n",
        "tally_line,kind,size\n3,b,20\n4,c,30\n6,e,50\n",
        "size,tally_reason,kind,tally_line\n50,,e,6\n20,,b,3\n30,,c,4\n",
        "TALLY_line,kind,size\n".lower() + '\n"3","b","20"\r\n\r\n4,c, 30 \n,,\n6,e,50',
        "Kind,tally_line,SIZE\nb,3,20\nc,4,30\ne,6,50\n",
        "\ufefftally_line,kind,size\n3,b,20\n4,c,30\n6,e,50\n",
    ],
)
def test_columns_stand_in_any_order_and_lines_in_any(deploy: Deploy, run: Callable[..., list[str]], fixed: str) -> None:
    deploy("")
    assert run(CONTENT, fixed.encode()) == RESULTS


def test_a_corrected_file_may_be_compressed(deploy: Deploy, run: Callable[..., list[str]]) -> None:
    deploy("")
    fixed = gzip.compress(b"tally_line,kind,size\n3,b,20\n4,c,30\n6,e,50\n")
    assert run(CONTENT, fixed, fixed_name="corrected.csv.gz") == RESULTS


def test_an_upload_that_is_compressed_is_corrected_too(deploy: Deploy, run: Callable[..., list[str]]) -> None:
    deploy("")
    fixed = b"tally_line,kind,size\n3,b,20\n4,c,30\n6,e,50\n"
    assert run(gzip.compress(CONTENT), fixed, name="day.csv.gz") == RESULTS


@pytest.mark.parametrize(
    ("encoding", "said", "fixed_encoding"),
    [
        ("latin-1", "latin-1", "latin-1"),
        ("latin-1", "latin-1", "utf-8-sig"),
        ("utf-16", "utf-16", "utf-16"),
        ("utf-16-le", "utf-16-le", "utf-16-le"),
        ("utf-16-le", "utf-16-le", "utf-8"),
        ("utf-8", "utf-8", "utf-16"),
    ],
)
def test_a_corrected_file_is_in_the_encoding_of_the_upload_or_says_its_own(
    deploy: Deploy, run: Callable[..., list[str]], encoding: str, said: str, fixed_encoding: str
) -> None:
    deploy(f'\nENCODING = "{said}"\n\ndef process(row):\n    return f"{{row.kind}} {{row.size}}"\n')
    fixed = "tally_line,kind,size\n3,b\u00e4r,20\n"
    found = run("kind,size\na,1\nb\u00e4r,x\nc,3\nd,4\n".encode(encoding), fixed.encode(fixed_encoding))
    assert found[1] == '"b\u00e4r 20"'


def test_a_character_that_the_upload_cannot_have_is_named(deploy: Deploy, run: Callable[..., list[str]]) -> None:
    deploy('\nENCODING = "latin-1"\n')
    with pytest.raises(OperatorError) as refused:
        run(CONTENT, "\ufefftally_line,kind,size\n3,b\u017c,20\n".encode())
    assert "line 2: '\u017c' is no character of iso8859-1, as the upload is" in refused.value.detail


def test_other_delimiters_and_files_without_a_header_are_corrected(
    deploy: Deploy, run: Callable[..., list[str]]
) -> None:
    """The corrected file has a header, as failed.csv has, for its first column has to be named."""
    deploy('\nDELIMITER = "\\t"\nHEADER = ["kind", "size"]\n')
    fixed = b"tally_line\ttally_reason\tkind\tsize\n2\t\tb\t20\n"
    assert run(b"a\t1\nb\tx\nc\t3\n", fixed) == ["1", "20", "3"]


def test_json_lines_name_the_line_in_a_member_of_their_own(
    deploy: Deploy, run: Callable[..., list[str]], pipeline: Pipeline
) -> None:
    deploy('\nFORMAT = "jsonl"\n')
    content = b'{"kind":"a","size":1}\n{"kind":"b","size":"x"}\nno json\n{"kind":"broken","size":4}\n'
    fixed = b'{"kind": "b", "tally_line": 2, "size": 20}\n{"tally_line":"3","tally_reason":"","size":30,"kind":"c"}\n'
    found = run(content, fixed, name="day.jsonl", fixed_name="corrected.jsonl")
    assert found == ["1", "20", "30", "PermanentError: broken"]
    (body,) = [body for (key, _), body in pipeline.s3.objects.items() if key.startswith("corrections/")]
    assert body == b'{"tally_line":2,"kind":"b","size":20}\n{"tally_line":3,"size":30,"kind":"c"}\n'


def test_an_uploaded_failed_csv_is_corrected_by_one_of_its_own(
    deploy: Deploy, run: Callable[..., list[str]], pipeline: Pipeline
) -> None:
    """It has two columns called tally_line then: the first is the one of this batch."""
    deploy("")
    content = b"tally_line,tally_reason,kind,size\n70,why,a,1\n71,why,b,x\n72,why,c,3\n"
    fixed = b"tally_line,tally_reason,tally_line,tally_reason,kind,size\n3,now,71,why,b,20\n"
    assert run(content, fixed) == ["1", "20", "3"]
    (body,) = [body for (key, _), body in pipeline.s3.objects.items() if key.startswith("corrections/")]
    assert body == b"tally_line,tally_line,tally_reason,kind,size\n3,71,why,b,20\n"


def test_columns_that_the_job_keeps_or_ignores_stay_with_the_row(deploy: Deploy, run: Callable[..., list[str]]) -> None:
    deploy('\nEXTRA = "keep"\n\ndef process(row):\n    return [row.size, row.extra]\n')
    content = b"kind,size,note\na,1,first\nb,x,second\n"
    assert run(content, b'note,tally_line,kind,size\n"new, note",3,b,20\n') == [
        '[1,{"note":"first"}]',
        '[20,{"note":"new, note"}]',
    ]


def _refused(pipeline: Pipeline, tmp_path: Path, *rows: str, header: str = "tally_line," + HEADER) -> OperatorError:
    batch_id = pipeline.upload("inbox/sizes/day.csv", CONTENT)
    pipeline.drain()
    items, objects = copy.deepcopy(pipeline.dynamodb.items), dict(pipeline.s3.objects)
    with pytest.raises(OperatorError) as refused:
        corrected(pipeline, batch_id, written(tmp_path, *rows, header=header))
    assert (pipeline.dynamodb.items, pipeline.s3.objects) == (items, objects), "nothing was changed"
    return refused.value


@pytest.mark.parametrize(
    ("row", "kind", "what"),
    [
        ("7,e,50", Kind.UNKNOWN, "no row of the batch begins at line 7: is the file of another batch?"),
        ("1,e,50", Kind.UNKNOWN, "no row of the batch begins at line 1: is the file of another batch?"),
        ("2,a,10", Kind.SUCCEEDED, "the row at line 2 has succeeded: only rows that failed or were rejected are"),
        (",b,20", Kind.UNNAMED, "tally_line is empty: it takes the number of the line in the upload"),
        ("three,b,20", Kind.UNNAMED, "tally_line is 'three'"),
        ("3,b,x", Kind.INVALID, "column 2 'size': expected int, got 'x' (for line 3 of the upload)"),
        ("3,b", Kind.UNREADABLE, "2 columns, the header has 3"),
        ('3,"b,20', Kind.UNREADABLE, "a quote is opened here and not closed"),
    ],
)
def test_a_line_that_cannot_run_is_named_and_nothing_is_changed(
    deploy: Deploy, pipeline: Pipeline, tmp_path: Path, row: str, kind: Kind, what: str
) -> None:
    deploy("")
    refused = _refused(pipeline, tmp_path, "4,c,30", row)
    assert "1 line of corrected.csv cannot run, 1 can: nothing was changed" in str(refused)
    assert refused.detail.startswith(f"1 {kind}\nline 3: {what}")


def test_corrected_rows_of_a_chunk_that_are_too_large_together_are_named(
    deploy: Deploy, pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ingest` reads them at once, and stores them in one transaction. Rows of other chunks do not count."""
    deploy("")
    monkeypatch.setattr(matching, "MAX_CHUNK_BYTES", 40)
    refused = _refused(pipeline, tmp_path, f"3,{'k' * 20},20", f"4,{'k' * 20},30", f"6,{'k' * 20},50")
    assert "1 line of corrected.csv cannot run, 2 can" in str(refused)
    assert refused.detail.startswith("1 too_large\nline 3: with the rows before it")


def test_two_rows_for_one_line_are_both_named(deploy: Deploy, pipeline: Pipeline, tmp_path: Path) -> None:
    deploy("")
    refused = _refused(pipeline, tmp_path, "3,b,20", "4,c,30", "3,b,21", "3,b,22")
    assert refused.detail.splitlines() == [
        "3 twice",
        "line 2: line 3 of the upload is replaced at line 4 too",
        "line 4: line 3 of the upload is replaced at line 2 too",
        "line 5: line 3 of the upload is replaced at line 2 too",
    ]


def test_all_lines_that_cannot_run_are_counted_and_the_first_are_shown(
    deploy: Deploy, pipeline: Pipeline, tmp_path: Path
) -> None:
    deploy("")
    refused = _refused(pipeline, tmp_path, *(f"{line},b,20" for line in range(100, 170)), "3,b,x")
    first, *lines = refused.detail.splitlines()
    assert first == "1 invalid, 70 unknown"
    assert (len(lines), lines[-1]) == (MAX_SHOWN + 1, "and 21 more")


@pytest.mark.parametrize(
    ("header", "what"),
    [
        (HEADER, "its header has no column tally_line"),
        ("tally_line;kind;size\n", "its header has no column tally_line"),
        ("tally_line,kind\n", "its header lacks size"),
        ("tally_line,kind,size,colour\n", "its header has colour, which the batch lacks"),
        ("", "its header has no column tally_line"),
        ("PK\x03\x04", "it is a zip archive: save it as CSV"),
    ],
)
def test_a_file_that_cannot_correct_the_batch_is_refused_as_a_whole(
    deploy: Deploy, pipeline: Pipeline, tmp_path: Path, header: str, what: str
) -> None:
    deploy("")
    refused = _refused(pipeline, tmp_path, "3,b,20", header=header)
    assert what in str(refused)
    assert refused.hint


def _corrected(pipeline: Pipeline, tmp_path: Path, *rows: str, **options: bool) -> tuple[str, Corrected]:
    batch_id = pipeline.upload("inbox/sizes/day.csv", CONTENT)
    pipeline.drain()
    return batch_id, corrected(pipeline, batch_id, written(tmp_path, *rows, header="tally_line," + HEADER), **options)


def test_lines_that_cannot_run_are_left_out_if_that_is_wanted(
    deploy: Deploy, pipeline: Pipeline, tmp_path: Path
) -> None:
    deploy("")
    rows = ("2,a,10", "3,b,20", "4,c,x", "6,e,50", "6,e,51")
    batch_id, done = _corrected(pipeline, tmp_path, *rows, skips=True)
    assert (done.rows, done.problems.total) == (1, 4)
    pipeline.drain()
    check(pipeline, batch_id)
    assert pipeline.batch(batch_id).counts == Counts(succeeded=3, failed=1, rejected=1)
    again = corrected(pipeline, batch_id, tmp_path / "corrected.csv", skips=True)
    assert (again.rows, again.already) == (0, 1)
    assert {row["line"] for row in exported(pipeline, batch_id)[1] if "corrected" in row} == {3}


def test_nothing_runs_if_no_line_can(deploy: Deploy, pipeline: Pipeline, tmp_path: Path) -> None:
    deploy("")
    with pytest.raises(OperatorError, match="No line of corrected"):
        _corrected(pipeline, tmp_path, "2,a,10", skips=True)


def test_a_dry_run_says_what_would_run_and_changes_nothing(deploy: Deploy, pipeline: Pipeline, tmp_path: Path) -> None:
    deploy("")
    said = io.StringIO()
    batch_id = pipeline.upload("inbox/sizes/day.csv", CONTENT)
    pipeline.drain()
    items, objects = copy.deepcopy(pipeline.dynamodb.items), dict(pipeline.s3.objects)
    path = written(tmp_path, "3,b,20", "4,c,30", header="tally_line," + HEADER)
    done = corrected(pipeline, batch_id, path, dry_run=True, output=output(said))
    assert (done.rows, done.as_json()["redriven"]) == (2, 0)
    assert (pipeline.dynamodb.items, pipeline.s3.objects) == (items, objects)
    assert said.getvalue() == "2 rows would run again, in attempt 2. Nothing was changed.\n"


def test_the_file_of_corrections_is_a_corrected_file_itself(deploy: Deploy, pipeline: Pipeline, tmp_path: Path) -> None:
    """Given again, it is the same file: nothing is uploaded a second time."""
    deploy("")
    batch_id, _ = _corrected(pipeline, tmp_path, "4,broken,30", "3,b,20")
    pipeline.drain()
    ((place, body),) = [each for each in pipeline.s3.objects.items() if each[0][0].startswith("corrections/")]
    (tmp_path / "again.csv").write_bytes(body)
    again = corrected(pipeline, batch_id, tmp_path / "again.csv")
    assert (again.rows, again.already) == (1, 1)
    assert again.file is not None
    assert again.file.source.key == place[0]


def test_a_file_of_any_size_takes_the_memory_of_some_thousand_rows(
    deploy: Deploy, pipeline: Pipeline, tmp_path: Path
) -> None:
    """Reading, checking and sorting of twice the rows take no more."""
    deploy("")
    batch_id = pipeline.upload("inbox/sizes/day.csv", CONTENT)
    pipeline.drain()
    file = partial(CorrectedFile, batch=pipeline.batch(batch_id), schema=None)

    def peak(rows: int) -> int:
        path = tmp_path / f"{rows}.csv"
        path.write_text("tally_line,kind,size\n" + "".join(f"{rows - row},{'k' * 400},{row}\n" for row in range(rows)))
        folder = tmp_path / str(rows)
        folder.mkdir()
        tracemalloc.start()
        with Staging(folder) as staging:
            for row in file(path=path).rows():
                assert not isinstance(row, Problem)
                assert not list(staging.add(row))
            staging.write(b"", folder / "corrections")
            _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(20_000) < 1.2 * peak(10_000)
