"""The job and the id of a batch follow from its object's version alone."""

from dataclasses import replace
from datetime import timedelta

import pytest

from chalicelib.steps.plan import batch_id, job_name
from chalicelib.store.batch import BatchStatus, Source
from tally.testing.faults import Fault
from tests.support.builders import NOW, at_call, killed, planner
from tests.support.planning import SOURCE, World


@pytest.mark.parametrize(
    ("key", "job"),
    [
        ("inbox/offices/day.csv", "offices"),
        ("inbox/offices/2026/03/day.csv", "offices"),
        ("inbox/day.csv", ""),
        ("inbox//day.csv", ""),
    ],
)
def test_the_job_is_the_first_folder_below_the_inbox(key: str, job: str) -> None:
    """Deeper folders are the uploader's own."""
    assert job_name(key) == job


def test_the_id_of_a_batch_is_the_same_for_ever() -> None:
    """It is written in tables and messages: another formula would make every redelivered event a new batch."""
    assert batch_id("offices", SOURCE) == "offices-f6702112d7576b42ce58"


@pytest.mark.parametrize(
    "other",
    [
        replace(SOURCE, version_id="v2"),
        replace(SOURCE, key="inbox/offices/day2.csv"),
        replace(SOURCE, bucket="other"),
        replace(SOURCE, version_id="", etag="e"),
        replace(SOURCE, version_id="", etag="e2"),
    ],
)
def test_another_version_bucket_or_key_is_another_batch(other: Source) -> None:
    """A corrected file under the same name is a new run."""
    assert batch_id("offices", other) != batch_id("offices", SOURCE)


def test_the_etag_tells_versions_apart_only_where_there_are_no_versions() -> None:
    """The same version is the same batch, whatever else the event says of it."""
    assert batch_id("offices", replace(SOURCE, etag="other")) == batch_id("offices", SOURCE)
    unversioned = replace(SOURCE, version_id="")
    assert batch_id("offices", replace(unversioned, etag="other")) != batch_id("offices", unversioned)


def test_ids_of_keys_without_a_job_are_names_all_the_same() -> None:
    """Also of a folder with signs that have a meaning in keys: a # would be taken for a chunk's."""
    assert batch_id("", SOURCE).startswith("none-")
    assert batch_id("a#b c", SOURCE).startswith("a-b-c-")


def test_a_plan_keeps_its_first_creation_and_expiry() -> None:
    """Rows get their expiry from the batch: were it another one, ingesting again would write them again."""
    world = World()
    assert killed(lambda: world.plan(at_call(2, Fault.KILLED_AFTER)))
    first = world.batch()
    later = replace(planner(world.dynamodb, world.s3), clock=lambda: NOW + timedelta(hours=5))
    later.plan(world.upload)
    assert world.batch().status is BatchStatus.RUNNING
    assert (world.batch().created_at, world.batch().expires_at) == (first.created_at, first.expires_at)
