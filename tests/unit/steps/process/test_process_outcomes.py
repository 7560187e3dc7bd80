"""Process gives each row an outcome of its own: no row changes that of another."""

import msgspec
import pytest

from chalicelib.errors import FatalError, NotFoundError, UnknownOutcomeError
from chalicelib.store.items import Outcome, text
from chalicelib.store.marker import MAX_REASON_CHARACTERS, MAX_TRACEBACK_CHARACTERS, ReasonCode, RowOutcome
from chalicelib.transport.messages import MAX_MESSAGE_BYTES
from tally.testing.faults import Fault, Killed
from tests.support.builders import plant_rows
from tests.support.processing import FINISHED, KEY, LAST, World


def _outcome(what: str) -> RowOutcome:
    """Return the outcome of a row alone, at its last try."""
    world = World(what)
    world.work(attempt=LAST)
    (outcome,) = world.outcomes
    assert not world.sent
    return outcome


def test_a_row_succeeds_with_what_the_job_returns() -> None:
    """The result travels as JSON; the row knows the name that it has for ever."""
    outcome = _outcome("fine")
    assert (outcome.row, outcome.outcome, outcome.tries) == (0, Outcome.SUCCEEDED, LAST)
    assert msgspec.json.decode(outcome.result) == {"what": "fine", "key": "moody-1#000003#000000"}


def test_a_job_that_returns_nothing_has_the_result_null() -> None:
    """It succeeded all the same."""
    outcome = _outcome("none")
    assert (outcome.outcome, bytes(outcome.result)) == (Outcome.SUCCEEDED, b"null")


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("raise", "ValueError: no good"),
        ("exit", "SystemExit: 3"),
        ("deep", "RecursionError: "),
        ("unencodable", "TypeError: "),
        ("surrogate result", "UnicodeEncodeError: "),
        ("raw result", "DecodeError: JSON is malformed"),
        ("cancelled", "CancelledError: "),
        ("panic", "Panic: index out of bounds"),
        ("surrogate", "OSError: no such file: "),
        ("mute", "Mute"),
    ],
)
def test_a_row_that_the_job_chokes_on_fails_alone(what: str, reason: str) -> None:
    """The rows before and after it succeed, and all outcomes are sent."""
    world = World("before", what, "after")
    world.work(attempt=LAST)
    before, choked, after = world.outcomes
    assert (before.outcome, after.outcome) == (Outcome.SUCCEEDED, Outcome.SUCCEEDED)
    assert (choked.row, choked.outcome, choked.code) == (1, Outcome.FAILED, ReasonCode.RAISED)
    assert choked.reason.startswith(reason)
    assert (choked.line, choked.tries) == (3, LAST)


def test_a_permanent_error_fails_its_row_at_once() -> None:
    """The job knows that a second try is no help."""
    world = World("permanent", "fine")
    world.work()
    first, second = world.outcomes
    assert (first.outcome, first.code, first.tries) == (Outcome.FAILED, ReasonCode.PERMANENT, 1)
    assert first.reason == "PermanentError: never"
    assert second.outcome is Outcome.SUCCEEDED
    assert not world.sent


def test_the_traceback_of_a_failure_has_the_places_in_the_jobs_code_and_nothing_of_tallys() -> None:
    """It begins where the job was called; what the job itself has called is below."""
    frames = _outcome("raise").traceback.splitlines()
    assert [frame.partition(":")[0] for frame in frames] == ["moody.py"]
    assert frames[0].endswith('in process: raise ValueError("no good")')
    assert "process.py" not in "".join(frames).replace("in process", "")


def test_a_deep_traceback_keeps_its_end() -> None:
    """The place that raised; a thousand frames above it say the same."""
    found = _outcome("deep").traceback
    assert len(found) <= MAX_TRACEBACK_CHARACTERS
    assert found.splitlines()[-1].startswith("moody.py:")


def test_an_error_outside_the_jobs_code_says_where_it_was() -> None:
    """A row that does not fit the schema any more never came to the job."""
    world = World("fine")
    world.dynamodb.items.pop((KEY.pk, "rows#000"))
    plant_rows(world.dynamodb, KEY, ["other"], [["x"]])
    world.work(attempt=LAST)
    (outcome,) = world.outcomes
    assert outcome.reason.startswith("ValidationError: ")
    assert len(outcome.traceback.splitlines()) == 1


def test_a_row_of_another_schema_does_not_hurt_those_that_fit() -> None:
    """A page says which columns it has: a job that was deployed with others does not misread it."""
    world = World("fine")
    plant_rows(world.dynamodb, KEY, ["what", "note"], [["fine", "x"], ["raise", "y"]])
    world.work(attempt=LAST)
    assert [outcome.code for outcome in world.outcomes] == [ReasonCode.RAISED] * 2
    assert world.ran == []


def test_a_long_reason_is_cut() -> None:
    """Its beginning says what is wrong; a thousand of them still fit into a transaction."""
    assert len(_outcome("long").reason) == MAX_REASON_CHARACTERS


@pytest.mark.parametrize(("length", "outcome"), [(259_000, Outcome.SUCCEEDED), (MAX_MESSAGE_BYTES, Outcome.FAILED)])
def test_a_result_larger_than_a_message_fails_its_row(length: int, outcome: Outcome) -> None:
    """The largest that fits is sent, the others are not held up."""
    world = World(str(length), "fine")
    world.work()
    first, second = sorted(world.outcomes, key=lambda found: found.row)
    assert (first.outcome, second.outcome) == (outcome, Outcome.SUCCEEDED)
    if outcome is Outcome.FAILED:
        assert (first.code, first.line) == (ReasonCode.TOO_LARGE, 2)
        assert first.reason == "the job's result is too large: 262,146 bytes of JSON"
    assert all(len(body.encode()) <= MAX_MESSAGE_BYTES for body in world.sqs.bodies[FINISHED])


def test_a_row_that_is_not_in_the_table_any_more_fails_with_that_reason() -> None:
    """It has an outcome, and so has its batch an end."""
    world = World("fine", "fine")
    del world.dynamodb.items[KEY.pk, "rows#000"]
    world.work(rows=[1])
    (outcome,) = world.outcomes
    assert (outcome.row, outcome.outcome, outcome.code) == (1, Outcome.FAILED, ReasonCode.ROW_GONE)
    assert outcome.reason == "the row is no longer in the table"


def test_the_end_of_the_worker_is_no_outcome_of_a_row() -> None:
    """The message comes again; a row is not failed for it."""
    world = World("fine", "killed")
    with pytest.raises(Killed):
        world.work()
    assert not world.sqs.bodies


def test_a_table_that_cannot_be_read_fails_no_row() -> None:
    """It is no row's fault: the message comes again."""
    world = World("fine")
    with pytest.raises(UnknownOutcomeError):
        world.work(worker=world.worker(faults=lambda _: Fault.ERROR_BEFORE))
    assert not world.sqs.bodies


def test_a_job_that_is_not_deployed_fails_no_row() -> None:
    """Deploying it again repairs all of them."""
    world = World("fine")
    world.dynamodb.items[f"batch#{KEY.batch_id}", "batch"]["job"] = text("gone")
    with pytest.raises(FatalError, match="the job 'gone', which this deployment does not have"):
        world.work()


@pytest.mark.parametrize("sk", ["batch", "chunk"])
def test_rows_of_a_batch_that_was_deleted_are_no_failures(sk: str) -> None:
    """There is nothing that they could be counted in: the message becomes a dead letter, which alarms."""
    world = World("fine")
    world.dynamodb.items = {key: item for key, item in world.dynamodb.items.items() if key[1] != sk}
    with pytest.raises(NotFoundError, match="was its batch deleted"):
        world.work()


def test_a_row_that_is_processed_twice_has_the_same_name_both_times() -> None:
    """By which the job's own side effects tell."""
    keys = [msgspec.json.decode(_outcome("fine").result)["key"] for _ in range(2)]
    assert len(set(keys)) == 1
