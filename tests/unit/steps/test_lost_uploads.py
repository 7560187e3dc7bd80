"""Lost uploads: what no event has brought is planned by a sweep, once, and nothing else is."""

from dataclasses import replace
from datetime import timedelta

import pytest

from chalicelib import services
from chalicelib.errors import TallyError
from chalicelib.steps import lost_uploads
from chalicelib.steps.lost_uploads import LostUploads, Swept
from chalicelib.steps.plan import batch_id_of
from chalicelib.store.batch import BatchStatus, Source
from chalicelib.transport.uploads import Upload
from tally.testing.faults import Fault
from tally.testing.memory_aws import etag
from tally.testing.pipeline import Pipeline
from tests.support.builders import NOW, Requests, Time, at_call, killed

FILE = b"office_id,user_count,contract_count\no1,1,2\n"
PATIENCE = timedelta(minutes=10)
"""Two periods of reconcile."""
MINUTE, DAY = 60, 86_400


@pytest.fixture
def time(pipeline: Pipeline) -> Time:
    """Give a clock that a test moves, in a stage whose first sweep was a day ago."""
    time = Time()
    _sweep(time)
    time.pass_by(DAY)
    return time


def _lost_uploads(time: Time) -> LostUploads:
    made = services.Services.of(None).lost_uploads
    assert made.patience == PATIENCE
    return replace(made, clock=time, notes=replace(made.notes, clock=time))


def _sweep(time: Time) -> Swept:
    return _lost_uploads(time).sweep()


def _lose(
    pipeline: Pipeline, time: Time, key: str = "inbox/offices/day.csv", version: str = "v1", *, age: float = 15 * MINUTE
) -> str:
    """Upload a file whose event is lost; returns the id that its batch would have."""
    batch_id = pipeline.upload(key, FILE, version)
    pipeline.uploads.pop()
    pipeline.s3.modified[key, version] = time() - timedelta(seconds=age)
    return batch_id


def _batches(pipeline: Pipeline) -> set[str]:
    return {pk.removeprefix("batch#") for pk, sk in pipeline.dynamodb.items if sk == "batch"}


def test_an_upload_whose_event_was_lost_is_planned_and_processed(pipeline: Pipeline, time: Time) -> None:
    """The sweep hands it over as S3 would have done."""
    batch_id = _lose(pipeline, time)
    assert _sweep(time) == Swept(seen=1, handed_over=1)
    pipeline.drain()
    assert pipeline.batch(batch_id).status is BatchStatus.COMPLETED
    assert _sweep(time) == Swept(seen=1, handed_over=0)


def test_an_upload_that_was_planned_is_left_alone(pipeline: Pipeline, time: Time) -> None:
    """The id that the list gives is the one that the event gave."""
    batch_id = pipeline.upload("inbox/offices/ein Büro+.csv", FILE)
    pipeline.s3.modified["inbox/offices/ein Büro+.csv", "v1"] = time() - PATIENCE
    pipeline.drain_uploads()
    assert _sweep(time).handed_over == 0
    assert _batches(pipeline) == {batch_id}


def test_an_upload_without_a_job_is_planned_and_so_rejected(pipeline: Pipeline, time: Time) -> None:
    """It is in the list of batches, with the reason, as if its event had come."""
    batch_id = _lose(pipeline, time, "inbox/stray.csv")
    assert _sweep(time).handed_over == 1
    pipeline.drain()
    assert pipeline.batch(batch_id).status is BatchStatus.REJECTED


@pytest.mark.parametrize(
    ("age", "handed_over"),
    [
        (0, 0),
        (PATIENCE.total_seconds() - 1, 0),
        (PATIENCE.total_seconds(), 1),
        (DAY - 1, 1),
    ],
)
def test_an_upload_is_lost_when_its_event_should_have_come(
    pipeline: Pipeline, time: Time, age: float, handed_over: int
) -> None:
    """Before, Lambda may still be trying it."""
    _lose(pipeline, time, age=age)
    assert _sweep(time).handed_over == handed_over


def test_what_was_in_the_bucket_before_the_first_sweep_is_never_planned(pipeline: Pipeline) -> None:
    """A bucket that was there before the stage, or a table that was made again, is full of files without a batch."""
    time = Time()
    for age in (0, 20 * MINUTE, 30 * DAY):
        _lose(pipeline, time, f"inbox/offices/{age}.csv", age=age + 1)
    for _ in range(4):
        assert _sweep(time).handed_over == 0
        time.pass_by(5 * MINUTE)
    batch_id = _lose(pipeline, time, "inbox/offices/late.csv", age=20 * MINUTE)
    assert _sweep(time).handed_over == 1
    pipeline.drain()
    assert _batches(pipeline) == {batch_id}


def test_the_first_sweep_stays_the_first(pipeline: Pipeline) -> None:
    """Two that begin at once agree: the later one does not move the moment, or what came in between would be lost."""
    time = Time()
    other = _lost_uploads(time)
    assert other.notes.cursor().since == NOW
    time.pass_by(5 * MINUTE)
    assert _lost_uploads(time).notes.cursor().since == NOW


def test_a_version_that_is_older_than_a_week_is_not_looked_up(pipeline: Pipeline, time: Time) -> None:
    """Earlier sweeps have looked at it. The table is not read for all that ever was uploaded."""
    time.pass_by(30 * DAY)
    _lose(pipeline, time, age=7 * DAY + 1)
    requests = Requests(pipeline.dynamodb)
    pipeline.clients["dynamodb"] = requests  # type: ignore[assignment]
    assert _sweep(time) == Swept(seen=1, handed_over=0)
    assert [operation for operation, _ in requests.made] == ["get_item"]
    _lose(pipeline, time, "inbox/offices/week.csv", age=7 * DAY)
    assert _sweep(time).handed_over == 1


def test_every_version_of_a_key_is_an_upload_of_its_own(pipeline: Pipeline, time: Time) -> None:
    """A file that was replaced, or deleted, before it was planned has a batch too, as its event would have made."""
    first, second = (_lose(pipeline, time, version=version) for version in ("v1", "v2"))
    pipeline.s3.objects["inbox/offices/day.csv", "v3"] = b""
    pipeline.s3.deletions.add(("inbox/offices/day.csv", "v3"))
    assert _sweep(time) == Swept(seen=2, handed_over=2)
    pipeline.drain_uploads()
    assert _batches(pipeline) == {first, second}


def test_delete_markers_and_folders_are_no_uploads(pipeline: Pipeline, time: Time) -> None:
    """A page may hold nothing else, and then has no list of versions at all."""
    for position in range(4):
        key = f"inbox/offices/{position}.csv"
        _lose(pipeline, time, key)
        pipeline.s3.deletions.add((key, "v1"))
    _lose(pipeline, time, "inbox/offices/")
    _lose(pipeline, time, "unpacked/offices/day.csv")
    assert _sweep(time) == Swept(seen=1, handed_over=0)


def test_an_object_of_a_bucket_without_versions_has_the_batch_of_its_event(pipeline: Pipeline, time: Time) -> None:
    """S3 lists its version as null, and says nothing of one in the event: the etag tells its content."""
    key = "inbox/offices/day.csv"
    _lose(pipeline, time, key, version="null")
    source = Source(bucket="inbox", key=key, version_id="", etag=etag("null"))
    assert _sweep(time).handed_over == 1
    pipeline.drain()
    assert _batches(pipeline) == {batch_id_of(Upload(source=source, size=len(FILE)))}
    assert _sweep(time).handed_over == 0


def test_a_sweep_is_bounded_and_goes_round(pipeline: Pipeline, time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two pages of three at a time: each sweep continues where the last one stopped, within a key too."""
    monkeypatch.setattr(lost_uploads, "_MAX_PAGES", 2)
    for number in range(4):
        for version in ("v1", "v2"):
            _lose(pipeline, time, f"inbox/offices/{number}.csv", version, age=0)
    assert [_sweep(time).seen for _ in range(4)] == [6, 2, 6, 2]
    time.pass_by(PATIENCE.total_seconds())
    assert [_sweep(time).handed_over for _ in range(4)] == [6, 2, 0, 0]
    pipeline.drain_uploads()
    assert len(_batches(pipeline)) == 8
    early = _lose(pipeline, time, "inbox/offices/.csv")
    assert [_sweep(time).handed_over for _ in range(2)] == [1, 0]
    pipeline.drain_uploads()
    assert pipeline.has_batch(early)


def test_a_sweep_that_fails_keeps_the_pages_that_it_came_through(pipeline: Pipeline, time: Time) -> None:
    """Or a page that fails each time would keep all sweeps at the pages before it."""
    for number in range(9):
        _lose(pipeline, time, f"inbox/offices/{number}.csv")
    invocations = iter(range(99))

    def fifth_is_refused(operation: str) -> Fault:
        return Fault.ERROR_BEFORE if operation == "invoke" and next(invocations) >= 4 else Fault.NONE

    pipeline.faults = fifth_is_refused
    with pytest.raises(TallyError):
        _sweep(time)
    pipeline.faults = lambda _: Fault.NONE
    assert _sweep(time) == Swept(seen=6, handed_over=5)


def test_a_whole_round_in_one_sweep_writes_nothing(pipeline: Pipeline, time: Time) -> None:
    """A small inbox is what most stages have."""
    _lose(pipeline, time, age=0)
    before = len(pipeline.dynamodb.stream)
    assert _sweep(time).seen == 1
    assert len(pipeline.dynamodb.stream) == before


def test_uploads_beyond_the_bound_of_a_sweep_have_their_turn(
    pipeline: Pipeline, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while plan does not come to those before them: they were handed over, and Lambda has them."""
    monkeypatch.setattr(lost_uploads, "_MAX_HANDED_OVER", 4)
    lost = {_lose(pipeline, time, f"inbox/offices/{number}.csv") for number in range(10)}
    assert [_sweep(time).handed_over for _ in range(4)] == [4, 4, 2, 0]
    assert len(pipeline.uploads) == 10
    pipeline.drain_uploads()
    assert _batches(pipeline) == lost


def test_an_upload_that_lambda_never_plans_is_handed_over_once_a_day(pipeline: Pipeline, time: Time) -> None:
    """Often enough if that is lost too, and seldom enough while somebody keeps plan from running."""
    batch_id = _lose(pipeline, time)
    handed_over = 0
    for _ in range(2 * 24):
        handed_over += _sweep(time).handed_over
        time.pass_by(60 * MINUTE)
    assert handed_over == 2
    pipeline.drain()
    assert _batches(pipeline) == {batch_id}


@pytest.mark.parametrize("fault", [Fault.KILLED_BEFORE, Fault.KILLED_AFTER])
def test_a_sweep_that_dies_anywhere_loses_no_upload(pipeline: Pipeline, time: Time, fault: Fault) -> None:
    """One that dies after handing over hands over again, which is the same batch."""
    lost: set[str] = set()
    for position in range(20):
        lost.add(_lose(pipeline, time, f"inbox/offices/{position:02d}.csv"))
        pipeline.faults = at_call(position, fault)
        if not killed(lambda: _sweep(time)):
            break
    assert position > 3
    pipeline.faults = lambda _: Fault.NONE
    _sweep(time)
    pipeline.drain()
    assert _batches(pipeline) == lost
    assert {pipeline.batch(batch_id).status for batch_id in lost} == {BatchStatus.COMPLETED}


def test_an_upload_that_cannot_be_handed_over_is_tried_again(pipeline: Pipeline, time: Time) -> None:
    """A missing right is an error of reconcile, and its alarm; the cursor stays where it was."""
    _lose(pipeline, time)
    pipeline.faults = lambda operation: Fault.ERROR_BEFORE if operation == "invoke" else Fault.NONE
    with pytest.raises(TallyError):
        _sweep(time)
    pipeline.faults = lambda _: Fault.NONE
    assert _sweep(time).handed_over == 1


def test_the_event_that_comes_after_the_sweep_changes_nothing(pipeline: Pipeline, time: Time) -> None:
    """It was late, not lost."""
    batch_id = _lose(pipeline, time)
    event = pipeline.upload("inbox/offices/day.csv", FILE)
    assert event == batch_id
    _sweep(time)
    assert len(pipeline.uploads) == 2
    pipeline.drain()
    batch = pipeline.batch(batch_id)
    assert (batch.status, batch.rows, _batches(pipeline)) == (BatchStatus.COMPLETED, 1, {batch_id})
