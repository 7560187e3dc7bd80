"""The documents job: what is assembled, what is refused, which rows go alone."""

import hashlib

import msgspec
import pytest

from chalicelib import jobs
from chalicelib.errors import PermanentError
from chalicelib.jobs import documents
from chalicelib.rows import RejectedRow, ValidRow


def _row(parts: str) -> documents.Row:
    return documents.Row(document_id="D1", title="Terms", parts=parts)


def _parts(count: int) -> str:
    return "|".join(f"part {position}: text" for position in range(count))


def test_a_document_is_assembled_in_the_order_of_its_parts() -> None:
    """The digest is of the whole document, its title included."""
    result = documents.process(_row("intro: Dear all | body:one two  three|end:"))
    whole = "# Terms\n\n## intro\nDear all\n\n## body\none two  three\n\n## end\n"
    assert result == documents.Result(id="D1", parts=3, words=5, sha256=hashlib.sha256(whole.encode()).hexdigest())


def test_the_same_document_has_the_same_digest_and_another_has_not() -> None:
    """A row may be processed twice; whichever result is recorded, it is the same."""
    assert documents.process(_row("a:1|b:2")) == documents.process(_row("a:1|b:2"))
    assert documents.process(_row("a:1|b:2")).sha256 != documents.process(_row("b:2|a:1")).sha256


def test_two_parts_of_one_name_fail_the_document_at_once() -> None:
    """No later try would say which is meant."""
    with pytest.raises(PermanentError, match="document D1 has two parts called 'intro'"):
        documents.process(_row("intro: a | body: b |intro : c"))


@pytest.mark.parametrize("parts", ["no name", "a: 1||b: 2", "a: 1|", ": text"])
def test_a_part_without_a_name_is_no_document(parts: str) -> None:
    """The rejection names the column."""
    job = jobs.require("documents")
    (row,) = job.schema.read(f"D1,Terms,{parts}\n".encode(), ("document_id", "title", "parts"), 2)
    assert isinstance(row, RejectedRow)
    assert row.reason.startswith("line 2, column 3 'parts': parts must be name: text")


@pytest.mark.parametrize(("count", "alone"), [(1, False), (250, False), (251, True), (3000, True)])
def test_a_document_of_more_than_250_parts_goes_alone(count: int, *, alone: bool) -> None:
    """Most have a few, and must not wait for those that have thousands."""
    job = jobs.require("documents")
    (row,) = job.schema.read(f"D1,Terms,{_parts(count)}\n".encode(), ("document_id", "title", "parts"), 2)
    assert isinstance(row, ValidRow)
    assert job.heavy(row.parsed) is alone


def test_the_job_is_found_with_its_hints() -> None:
    """Process gets the rows that ingest wrote."""
    job = jobs.require("documents")
    assert job.attempts == 5
    row = msgspec.json.decode(msgspec.json.encode(_row("a: 1")), type=job.schema.row)
    assert job.process(row) == documents.process(_row("a: 1"))
