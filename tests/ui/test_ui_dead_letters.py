"""A dead letter of `work` in a real browser: its row failed, runs again from a page, and the list says how it ended."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from chalicelib import services
from chalicelib.store.items import batch_pk
from chalicelib.transport.messages import WorkMessage, decode, encode
from chalicelib.transport.partial_batch_response import Message
from tally.testing.pipeline import Pipeline
from tests.support.builders import deployed_job, plant_deaths
from tests.ui import yards
from tests.ui.conftest import Browser
from tests.ui.yards import LOCAL, Yard

JOB = """
from chalicelib import rows

class Row(rows.Row):
    name: str

def process(row):
    return row.name
"""


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    yield from yards.yard(tmp_path_factory.mktemp("letters"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Dead:
    """A batch whose first row killed its workers until it was a dead letter: in the stage, as handlers left it."""

    yard: Yard
    pipeline: Pipeline
    batch_id: str

    def run(self) -> None:
        """Have the handlers run what was redriven, from the stage's items and back to them."""
        dynamodb, table = self.yard.client("dynamodb"), f"tally-{LOCAL}"
        stored = [each for each in dynamodb.scan(TableName=table)["Items"] if self._is_of(each["pk"]["S"])]
        for key in [key for key in self.pipeline.dynamodb.items if self._is_of(key[0])]:
            del self.pipeline.dynamodb.items[key]
        for item in stored:
            self.pipeline.dynamodb.put_item(TableName=table, Item=item)  # which its stream has, as the stage's had
        self.pipeline.drain()
        self.copy()

    def copy(self) -> None:
        """Write the items of the batch to the stage."""
        items = [dict(item) for (pk, _), item in self.pipeline.dynamodb.items.items() if self._is_of(pk)]
        yards.write(self.yard, LOCAL, items)

    def _is_of(self, pk: str) -> bool:
        return pk.startswith(batch_pk(self.batch_id))


@pytest.fixture
def dead(yard: Yard, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Dead]:
    with deployed_job(monkeypatch, tmp_path, "plain", JOB):
        pipeline = Pipeline(monkeypatch)
        batch_id = pipeline.upload(f"inbox/plain/{tmp_path.name}.csv", b"name\na\nb\nc\n")
        for step in ("upload", "dispatch", "ingest", "dispatch"):
            assert pipeline.deliver(step)
        whole = decode(pipeline.waiting("work").pop(), WorkMessage)
        first, others = (encode(replace(whole, rows=rows)) for rows in ([0], [1, 2]))
        pipeline.waiting("work").append(others)
        plant_deaths(pipeline.dynamodb, first)
        services.Services.of(None).dead_letter_handler.handle(Message("m", first), "tally-yard-work-dlq")
        pipeline.drain()
        made = Dead(yard=yard, pipeline=pipeline, batch_id=batch_id)
        made.copy()
        yard.client("sqs").purge_queue(QueueUrl=yard.url(LOCAL, "dead-letters"))
        yard.send(LOCAL, "dead-letters", first, queue="tally-yard-work-dlq")
        yield made


def opened(browser: Browser, yard: Yard) -> str:
    """Show the dead letters, and return where the pages are."""
    url = yard.console(LOCAL).url
    home = url.partition("?")[0]
    browser.open(url)
    browser.open(f"{home}stage")
    browser.click("Show dead letters")
    browser.says("given up by tally-yard-work-dlq", "outcome: its rows have ended: 1 failed", "section dead-letters")
    return home


def test_the_row_of_a_dead_letter_is_run_again_from_its_card_which_says_how_it_ended(
    browser: Any, yard: Yard, dead: Dead
) -> None:
    opened(browser, yard)
    browser.confirm("Run 1 row again")
    browser.says(f"tally redrive {dead.batch_id} --rows 0:0 --stage yard", "1 row runs again, in attempt 2")
    browser.click("Close")
    browser.says("outcome: a redrive runs its rows again: 1 of them has no outcome yet")
    dead.run()
    browser.click("Show dead letters")
    browser.says("outcome: its rows have ended: 1 succeeded, so it is of no use any more")
    browser.says("tally dead dead-letters --discard")


def test_the_row_of_a_dead_letter_is_run_again_from_the_page_of_its_batch(browser: Any, yard: Yard, dead: Dead) -> None:
    home = opened(browser, yard)
    browser.open(f"{home}batch/{dead.batch_id}")
    browser.says("2 succeeded, 1 failed", "dead-lettered: its worker died")
    browser.confirm("Redrive")
    browser.says("1 row runs again, in attempt 2")
    browser.click("Close")
    dead.run()
    browser.says("3 of 3 rows (100 %): 3 succeeded, 0 failed", "attempt 2")
    browser.open(f"{home}stage")
    browser.click("Show dead letters")
    browser.says("outcome: its rows have ended: 1 succeeded, so it is of no use any more")
