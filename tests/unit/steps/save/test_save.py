"""Each key has the result of its newest row, no matter what dies in between."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from chalicelib import jobs
from chalicelib.keys import Unsaved
from chalicelib.settings import ResultsTable as Setting
from chalicelib.steps.redrive import Redriver
from chalicelib.store.exports import Exports
from chalicelib.store.results_table import KeyedResult
from chalicelib.store.saves import Saves
from tally.testing.faults import Fault
from tally.testing.pipeline import Pipeline
from tests.support.builders import at_call, calls_of, table
from tests.support.saving import HEADER, PLACE, found, rows, save_of, saving, until


def test_each_key_has_one_item_with_its_result_and_where_it_is_from(pipeline: Pipeline) -> None:
    batch_id = pipeline.upload(PLACE, rows("a", "b", "c"))
    pipeline.drain()
    batch = pipeline.batch(batch_id)
    assert found(pipeline)["b"] == KeyedResult(
        key="b",
        job="reports",
        batch_id=batch_id,
        batch_created_at=batch.created_at,
        attempt=1,
        line=3,
        result={"users": 2, "mean": 0.25},
    )
    assert found(pipeline).keys() == {"a", "b", "c"}
    item = pipeline.dynamodb.results["b", "reports"]
    assert item["result"] == {"M": {"users": {"N": "2"}, "mean": {"N": "0.25"}}}
    assert "expires_at" not in item


def test_only_rows_that_succeeded_are_saved(pipeline: Pipeline, job: Any) -> None:
    job.failing.add("b")
    batch_id = pipeline.upload(PLACE, rows("a", "b", "c") + b"d,x\n")
    pipeline.drain()
    assert found(pipeline).keys() == {"a", "c"}
    assert (save_of(pipeline, batch_id).rows, save_of(pipeline, batch_id).done.saved) == (2, 2)


@pytest.mark.parametrize("keys", ["aab", "abcdeabcde", "aaaaaaaaa"])
def test_the_row_that_comes_last_in_the_file_wins(pipeline: Pipeline, keys: str) -> None:
    """Within a chunk, which has four rows here, and over chunks."""
    batch_id = pipeline.upload(PLACE, rows(*keys))
    pipeline.drain()
    last = {key: 1 + max(at for at, each in enumerate(keys, start=1) if each == key) for key in keys}
    assert {key: each.line for key, each in found(pipeline).items()} == last
    done = save_of(pipeline, batch_id).done
    assert (done.saved, done.superseded) == (len(last), len(keys) - len(last))


def test_no_reader_ever_sees_an_older_row_of_the_file_follow_a_newer_one(pipeline: Pipeline, job: Any) -> None:
    """Also not when the next attempt writes every row of the file again."""
    job.failing.add("f")
    batch_id = pipeline.upload(PLACE, rows(*"abcdeabcdef"))
    pipeline.drain()
    lines: list[tuple[str, int]] = []

    def watch(operation: str) -> Fault:
        lines.extend((key, each.line) for key, each in found(pipeline).items())
        return Fault.NONE

    job.failing.clear()
    Redriver(table=table(pipeline.dynamodb)).redrive(batch_id, on_chunk=lambda: None)
    until(pipeline, "save")
    pipeline.faults = watch
    assert pipeline.deliver("save")
    assert len(set(lines)) == len(found(pipeline)) == 6
    assert {each.attempt for each in found(pipeline).values()} == {2}


def test_an_older_batch_that_is_saved_late_changes_nothing(pipeline: Pipeline) -> None:
    old = pipeline.upload(PLACE, rows("a", "b"))
    until(pipeline, "save")
    late = pipeline.waiting("save").copy()
    pipeline.waiting("save").clear()
    new = pipeline.upload("inbox/reports/next.csv", rows("b", "c", first=10))
    pipeline.drain()
    pipeline.waiting("save")[:] = late
    pipeline.drain()
    assert {key: each.batch_id for key, each in found(pipeline).items()} == {"a": old, "b": new, "c": new}
    assert (save_of(pipeline, old).done.saved, save_of(pipeline, old).done.superseded) == (1, 1)


def test_a_redrive_saves_the_next_attempt(pipeline: Pipeline, job: Any) -> None:
    job.failing.add("b")
    batch_id = pipeline.upload(PLACE, rows("a", "b"))
    pipeline.drain()
    assert found(pipeline).keys() == {"a"}
    job.failing.clear()
    Redriver(table=table(pipeline.dynamodb)).redrive(batch_id, on_chunk=lambda: None)
    pipeline.drain()
    assert {key: each.attempt for key, each in found(pipeline).items()} == {"a": 2, "b": 2}
    assert save_of(pipeline, batch_id, 2).done.saved == 2


def test_a_message_from_before_a_redrive_saves_nothing(pipeline: Pipeline, job: Any) -> None:
    job.failing.add("b")
    batch_id = pipeline.upload(PLACE, rows("a", "b"))
    until(pipeline, "save")
    Redriver(table=table(pipeline.dynamodb)).redrive(batch_id, on_chunk=lambda: None)
    assert pipeline.deliver("save")
    assert found(pipeline) == {}
    assert not save_of(pipeline, batch_id).saved_at
    pipeline.drain()
    assert found(pipeline).keys() == {"a"}


def test_a_redrive_in_the_middle_ends_the_save_of_the_attempt_before(pipeline: Pipeline, job: Any) -> None:
    job.failing.add("a")
    batch_id = pipeline.upload(PLACE, rows(*"abcdefghi"))
    until(pipeline, "save")
    queries = 0

    def redrive_at_second_query(operation: str) -> Fault:
        nonlocal queries
        queries += operation == "query"
        if operation == "query" and queries == 2:
            Redriver(table=table(pipeline.dynamodb)).redrive(batch_id, on_chunk=lambda: None)
        return Fault.NONE

    pipeline.faults = redrive_at_second_query
    assert pipeline.deliver("save")
    assert found(pipeline).keys() == {"i"}
    job.failing.clear()
    pipeline.drain()
    assert {each.attempt for each in found(pipeline).values()} == {2}
    assert found(pipeline).keys() == set("abcdefghi")


def test_a_row_without_an_item_is_named_and_keeps_no_other_from_being_saved(pipeline: Pipeline, job: Any) -> None:
    job.texts |= {"large": "x" * 200_000, "deep": json.loads("[" * 40 + "]" * 40)}
    long = "k" * 2_049
    content = HEADER + f"a,1\n,2\nlarge,3\n{long},4\ndeep,5\nb,6\n".encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chalicelib.store.results_table.MAX_ITEM_BYTES", 100_000)
        batch_id = pipeline.upload(PLACE, content)
        pipeline.drain()
    assert found(pipeline).keys() == {"a", "b"}
    save = save_of(pipeline, batch_id)
    assert save.done.unsaved == {Unsaved.TOO_LARGE: 1, Unsaved.KEY_TOO_LONG: 1, Unsaved.NOT_STORABLE: 1}
    assert save.done.rows == save.rows == 5
    kept = list(Saves(table=table(pipeline.dynamodb)).unsaved(save))
    assert [(row.line, row.code) for row in kept] == [
        (4, Unsaved.TOO_LARGE),
        (5, Unsaved.KEY_TOO_LONG),
        (6, Unsaved.NOT_STORABLE),
    ]
    assert "bytes" in kept[0].reason


def test_items_expire_after_the_stages_retention(monkeypatch: pytest.MonkeyPatch, job: Any) -> None:
    pipeline = saving(monkeypatch, Setting(name="tally-test-results", retention_days=400))
    batch_id = pipeline.upload(PLACE, rows("a"))
    pipeline.drain()
    ended = datetime.fromisoformat(pipeline.batch(batch_id).completed_at)
    assert found(pipeline)["a"].expires_at == int((ended + timedelta(days=400)).timestamp())


def test_a_job_without_a_key_is_not_saved(pipeline: Pipeline) -> None:
    pipeline.upload("inbox/offices/day.csv", b"office_id,user_count,contract_count\nA,1,2\n")
    until(pipeline, "save")
    assert pipeline.waiting("save") == []


def test_a_stage_without_a_results_table_saves_nothing_and_exports_all_the_same(
    monkeypatch: pytest.MonkeyPatch, job: Any
) -> None:
    pipeline = saving(monkeypatch, None)
    batch_id = pipeline.upload(PLACE, rows("a"))
    pipeline.drain()
    assert pipeline.waiting("save") == []
    export = Exports(table=table(pipeline.dynamodb)).require(batch_id, 1)
    assert export.exported_at


def test_the_export_says_when_its_results_were_saved(pipeline: Pipeline) -> None:
    batch_id = pipeline.upload(PLACE, rows("a"))
    pipeline.drain()
    saved_at = save_of(pipeline, batch_id).saved_at
    assert saved_at
    assert pipeline.dynamodb.items[f"batch#{batch_id}", "export#000001"]["saved_at"]["S"] == saved_at


def test_a_file_without_rows_is_saved_at_once(pipeline: Pipeline) -> None:
    batch_id = pipeline.upload(PLACE, HEADER)
    pipeline.drain()
    assert save_of(pipeline, batch_id).saved_at
    assert found(pipeline) == {}


def test_a_job_that_does_not_load_keeps_its_files_from_nobody(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows then whether it has a key: the message comes again until it is deployed right, and asks."""
    batch_id = pipeline.upload(PLACE, rows("a", "b"))
    until(pipeline, "export")

    def broken(_name: str) -> Any:
        raise SyntaxError

    with monkeypatch.context() as patch:
        patch.setattr(jobs, "find", broken)
        for _ in range(2):
            pipeline.deliver("export")
            assert pipeline.waiting("export")
            assert Exports(table=table(pipeline.dynamodb)).require(batch_id, 1).exported_at
    assert [event["type"] for event in pipeline.events.details].count("Batch Exported") == 1
    pipeline.drain()
    assert found(pipeline).keys() == {"a", "b"}


def test_an_exporter_that_dies_before_it_asks_for_the_save_asks_later(
    pipeline: Pipeline,
) -> None:
    """It dies after the event, at the item of the save, at the message, and at the note: each time all is saved."""
    pipeline.upload(PLACE, rows("a", "b"))
    until(pipeline, "export")
    asked = pipeline.waiting("export").copy()
    before = dict(pipeline.dynamodb.items)

    def history(faults: Callable[[str], Fault]) -> None:
        pipeline.dynamodb.items.clear()
        pipeline.dynamodb.items.update(before)
        pipeline.dynamodb.results.clear()
        pipeline.waiting("save").clear()
        pipeline.waiting("export")[:] = asked
        pipeline.faults = faults
        pipeline.deliver("export")

    calls = calls_of(history)
    for at in range(calls.index("put_events"), len(calls)):
        for fault in (Fault.KILLED_BEFORE, Fault.KILLED_AFTER):
            history(at_call(at, fault))
            pipeline.drain()
            assert found(pipeline).keys() == {"a", "b"}


def test_a_saver_may_die_at_any_call_and_every_row_is_saved_and_counted_once(pipeline: Pipeline, job: Any) -> None:
    """Each call of a run is where a worker dies, before and after it was applied; its message comes again."""
    job.texts["large"] = json.loads("[" * 40 + "]" * 40)
    keys = [*"abcdabcd", "large", *"efgh"]
    batch_id = pipeline.upload(PLACE, rows(*keys))
    until(pipeline, "save")
    asked = pipeline.waiting("save").copy()
    before = dict(pipeline.dynamodb.items)

    def history(faults: Callable[[str], Fault]) -> None:
        pipeline.dynamodb.items.clear()
        pipeline.dynamodb.items.update(before)
        pipeline.dynamodb.results.clear()
        pipeline.waiting("save")[:] = asked
        pipeline.faults = faults
        pipeline.deliver("save")

    calls = calls_of(history)
    whole = dict(pipeline.dynamodb.results)
    assert len(calls) > 15
    for at in range(len(calls)):
        for fault in (Fault.KILLED_BEFORE, Fault.KILLED_AFTER, Fault.TIMEOUT_AFTER, Fault.ERROR_BEFORE):
            history(at_call(at, fault))
            pipeline.drain()
            assert pipeline.dynamodb.results == whole, (calls[at], fault)
            save = save_of(pipeline, batch_id)
            assert save.saved_at
            assert (save.done.saved, save.done.superseded, save.done.unsaved_rows) == (8, 4, 1), (calls[at], fault)
            assert "saved_at" in pipeline.dynamodb.items[f"batch#{batch_id}", "export#000001"]
