"""Uploads: the events that say what arrived, and the handover to another plan."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from chalicelib.store.batch import Source
from chalicelib.transport.uploads import Handover, Upload, event_of, uploads
from tally.testing.faults import Fault
from tally.testing.memory_aws import MemoryLambda
from tests.support.builders import RETRY, Requests, faulty, in_turn

UPLOADS = st.builds(
    Upload,
    source=st.builds(
        Source,
        bucket=st.just("inbox"),
        key=st.text(min_size=1).filter(lambda key: not key.endswith("/")),
        version_id=st.sampled_from(["", "v1"]),
        etag=st.just("e"),
    ),
    size=st.integers(0),
    uploaded_at=st.none() | st.datetimes(timezones=st.just(UTC)),
)


def _event(key: str, **found: Any) -> dict[str, Any]:
    return {"s3": {"bucket": {"name": "inbox"}, "object": {"key": key, **found}}}


def test_keys_of_an_event_are_decoded() -> None:
    """S3 sends them as a form would."""
    event = {
        "Records": [
            _event("inbox/offices/a+b%2Bc%C3%BC.csv", size=12, versionId="v", eTag='"e"'),
            _event("inbox/offices/plain.csv"),
        ]
    }
    assert list(uploads(event)) == [
        Upload(source=Source(bucket="inbox", key="inbox/offices/a b+cü.csv", version_id="v", etag="e"), size=12),
        Upload(source=Source(bucket="inbox", key="inbox/offices/plain.csv", version_id="", etag=""), size=0),
    ]


def test_an_event_says_when_its_object_was_uploaded() -> None:
    """A 404 means something else for an object that is minutes old."""
    record = {**_event("inbox/a.csv"), "eventTime": "2026-03-01T12:00:00.125Z"}
    (upload,) = uploads({"Records": [record]})
    assert upload.uploaded_at == datetime(2026, 3, 1, 12, 0, 0, 125_000, tzinfo=UTC)


def test_an_object_without_a_version_has_none_however_that_is_said() -> None:
    """Its batch would have another id, and it would be planned twice."""
    said, unsaid = uploads({"Records": [_event("inbox/a.csv", versionId="null"), _event("inbox/a.csv")]})
    assert said == unsaid


def test_folder_placeholders_are_no_uploads() -> None:
    """Consoles make them, with no content and a key that ends with a slash."""
    assert list(uploads({"Records": [_event("inbox/offices/", size=0), _event("inbox/offices%2F", size=0)]})) == []
    assert list(uploads({"Event": "s3:TestEvent"})) == []


@given(UPLOADS)
def test_an_upload_that_is_handed_over_is_the_same(upload: Upload) -> None:
    """Another object, or another version of it, would be another batch."""
    assert list(uploads(event_of(upload))) == [upload]


def test_a_handover_is_asked_for_again_until_lambda_has_it() -> None:
    """An answer that was lost may mean two plans, which are one plan."""
    client = MemoryLambda()
    requests: Any = Requests(faulty(client, in_turn(Fault.ERROR_BEFORE, Fault.TIMEOUT_AFTER)))
    upload = Upload(source=Source(bucket="inbox", key="inbox/offices/a b.csv", version_id="v", etag="e"), size=3)
    Handover(lambda_client=lambda: requests, function_name="tally-test-plan", retry=RETRY)(upload)
    assert len(requests.of("invoke")) == 3
    assert [list(uploads(event)) for event in client.uploads] == [[upload], [upload]]
