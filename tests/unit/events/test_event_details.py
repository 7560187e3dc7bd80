"""The fields of events are those of docs/events.md and of the JSON Schemas, and keep what subscribers were promised."""

import json
import re
from dataclasses import replace
from typing import Any, get_type_hints

import msgspec
import pytest

from chalicelib.events.detail import EVENTS, SOURCE, Detail, DetailType, ended, exported
from chalicelib.files.form import Form
from chalicelib.store.batch import Batch, BatchStatus, Hold, Source
from chalicelib.store.exports import Export
from chalicelib.store.items import Counts
from tools import event_fields, schemas

PAGE = event_fields.PAGE.read_text(encoding="utf-8")
BATCH = Batch(
    id="offices-1",
    job="offices",
    source=Source(bucket="inbox", key="inbox/offices/day.csv", version_id="", etag="e"),
    size=9,
    status=BatchStatus.COMPLETED_WITH_FAILURES,
    created_at="2026-03-01T00:00:00.000000+00:00",
    completed_at="2026-03-01T00:00:09.000000+00:00",
    expires_at=1,
    chunk_rows=2,
    chunk_bytes=99,
    rows=3,
    counts=Counts(succeeded=1, failed=2),
    attempt=2,
)
EXPORT = Export(
    batch_id="offices-1",
    attempt=2,
    prefix="results/offices/offices-1/attempt-2/",
    form=Form.JSONL,
    status="completed_with_failures",
    completed_at=BATCH.completed_at,
    counts=BATCH.counts,
    chunks=2,
    chunks_per_part=50,
)
PROMISED = {
    "schema_version",
    "event_id",
    "batch_id",
    "job",
    "attempt",
    "bucket",
    "rows",
    "succeeded",
    "failed",
    "rejected",
    "status",
}
OF_AN_END = {"key", "version", "reason", "created_at", "completed_at"}
VERSION_1 = {
    "Batch Completed": PROMISED | OF_AN_END,
    "Batch Stopped": PROMISED | OF_AN_END | {"stopped_by"},
    "Batch Rejected": PROMISED | OF_AN_END,
    "Batch Exported": PROMISED | {"prefix", "manifest", "manifest_sha256", "expires_at"},
}
"""The fields of schema version 1: none of them may go while it is 1."""


def examples() -> list[dict[str, Any]]:
    """Return the events that the page shows."""
    blocks = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    return [event for event in map(json.loads, blocks) if "detail" in event and isinstance(event["source"], str)]


def of(kind: DetailType) -> type[Detail]:
    (found,) = [event for event in EVENTS if kind == event.TYPE]
    return found


def test_every_detail_type_has_a_type_a_schema_and_an_example() -> None:
    assert [event.TYPE for event in EVENTS] == list(DetailType)
    assert {path.stem for path in schemas.EVENTS.glob("*.json")} == {event_fields.slug(event) for event in EVENTS}
    assert [event["detail-type"] for event in examples()] == list(DetailType)
    for kind in DetailType:
        assert f"### {kind.value}" in PAGE
        assert f"<!-- fields of {event_fields.slug(of(kind))} -->" in PAGE


def test_schemas_and_tables_are_current() -> None:
    assert schemas.stale() == []


@pytest.mark.parametrize("event", examples(), ids=lambda event: str(event["detail-type"]))
def test_an_example_is_an_event_with_every_field_and_no_other(event: dict[str, Any]) -> None:
    kind = of(DetailType(event["detail-type"]))
    assert event["source"] == SOURCE
    assert list(event["detail"]) == [field.encode_name for field in msgspec.structs.fields(kind)]
    msgspec.convert(event["detail"], kind)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: str(event.TYPE))
def test_every_field_has_a_comment_that_the_page_and_the_schema_show(event: type[Detail]) -> None:
    hints = get_type_hints(event, include_extras=True)
    properties = event_fields.schema(event)["properties"]
    for field in msgspec.structs.fields(event):
        (meta,) = hints[field.name].__metadata__
        assert len(meta.description) > 10
        assert f"| `{field.name}` | {meta.description} |" in PAGE
        assert properties[field.name]["description"] == meta.description


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: str(event.TYPE))
def test_no_field_of_the_schema_version_goes(event: type[Detail]) -> None:
    """Raise SCHEMA_VERSION, and say in the page what has changed, before this set is changed."""
    names = {field.encode_name for field in msgspec.structs.fields(event)}
    assert names >= VERSION_1[event.TYPE]
    assert event_fields.schema(event)["properties"]["schema_version"]["default"] == 1


def detail(said: Detail) -> dict[str, Any]:
    """Return what is put for a detail."""
    found: dict[str, Any] = json.loads(msgspec.json.encode(said))
    msgspec.convert(found, type(said), strict=True)
    return found


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({}, DetailType.COMPLETED),
        ({"hold": Hold.PAUSED}, DetailType.COMPLETED),
        ({"hold": Hold.CANCELLED}, DetailType.STOPPED),
        ({"hold": Hold.THRESHOLD}, DetailType.STOPPED),
        ({"hold": Hold.CANCELLED, "counts": Counts(succeeded=3)}, DetailType.COMPLETED),
        ({"status": BatchStatus.REJECTED, "reason": "empty"}, DetailType.REJECTED),
        ({"status": BatchStatus.REJECTED, "hold": Hold.CANCELLED}, DetailType.REJECTED),
    ],
)
def test_an_end_is_one_of_three_events(change: dict[str, Any], kind: DetailType) -> None:
    said = ended(replace(BATCH, **change))
    assert said.TYPE is kind
    assert detail(said).keys() == VERSION_1[kind]


def test_the_two_events_of_an_attempt_have_ids_of_their_own() -> None:
    assert ended(BATCH).event_id == "offices-1#2"
    assert exported(BATCH, EXPORT, "00").event_id == "offices-1#2#exported"


def test_results_that_never_expire_say_so() -> None:
    said = detail(exported(BATCH, EXPORT, "00"))
    assert said["expires_at"] is None
    assert (said["bucket"], said["manifest"]) == ("inbox", "results/offices/offices-1/attempt-2/manifest.json")
