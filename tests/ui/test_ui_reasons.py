"""The reasons that a page shows are those of rows that have an outcome now."""

from io import StringIO
from typing import Any

from rich.console import Console

from chalicelib.store.items import number, text
from tally.batch import redrive
from tally.batch.reader import Reader
from tally.output import Output
from tally.stages.services import table
from tally.ui.batch_feed import BatchFeed
from tests.unit.tally import finished_batch


class Hours:
    """A clock on which an hour passes between two looks."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 3600
        return self.now


def patterns(feed: BatchFeed) -> set[str]:
    """Return the reasons that are shown once everything was read."""
    feed.refresh()
    for _ in range(12):
        view = feed.step()
    assert view
    return {group.pattern for group in view.top.groups}


def test_no_reason_is_left_of_rows_that_a_redrive_has_taken_back(local: Any) -> None:
    """Of a batch without any row that failed the page offered a redrive of those of the attempt before."""
    finished_batch.write(local.client("dynamodb"))
    stage = local.stage
    reader = Reader(dynamodb=stage.dynamodb, table=finished_batch.TABLE)
    feed = BatchFeed(reader=reader, batch_id="b", clock=Hours())
    assert len(patterns(feed)) == 2
    output = Output(console=Console(file=StringIO()), as_json=False)
    redrive.run(output, reader, "b", redrive.Which(), table=table(stage), s3=stage.s3)
    (rejected,) = patterns(feed)
    assert "line" in rejected
    for chunk in reader.chunks(reader.require("b")).values():  # as a redrive of rejected rows leaves it
        stage.dynamodb.update_item(
            TableName=finished_batch.TABLE,
            Key={"pk": text(chunk.key.pk), "sk": text("chunk")},
            UpdateExpression="SET rejected = :none, version = :version",
            ExpressionAttributeValues={":none": number(0), ":version": number(chunk.version + 1)},
        )
    assert patterns(feed) == set()
