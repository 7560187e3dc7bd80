"""Events reach a subscriber of the stage's bus, and `tally events` and `tally wait` say the same."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conftest import Tally, standstill, wait_for

pytestmark = pytest.mark.e2e
HEADER = b"office_id,user_count,contract_count\n"


class Subscriber:
    """A queue of its own, with a rule for all that Tally says."""

    def __init__(self, tally: Tally) -> None:
        stage = tally.stage
        self.sqs: Any = stage.client("sqs")
        self.url = self.sqs.create_queue(QueueName="subscriber")["QueueUrl"]
        asked = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])
        events: Any = stage.client("events")
        rule = {"Name": "subscriber", "EventBusName": stage.resources.event_bus}
        events.put_rule(**rule, EventPattern=json.dumps({"source": ["tally"]}))
        events.put_targets(
            Rule=rule["Name"],
            EventBusName=rule["EventBusName"],
            Targets=[{"Id": "queue", "Arn": asked["Attributes"]["QueueArn"]}],
        )
        self.got: dict[str, tuple[str, dict[str, Any]]] = {}

    def receive(self) -> None:
        """Take what waits; a copy of an event is told by its id."""
        while found := self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10).get("Messages"):
            for message in found:
                envelope = json.loads(message["Body"])
                self.got[envelope["detail"]["event_id"]] = envelope["detail-type"], envelope["detail"]
                self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])

    def has(self, *event_ids: str) -> bool:
        """Tell whether these have come."""
        self.receive()
        return set(event_ids) <= self.got.keys()


@pytest.fixture(scope="module")
def subscriber(tally: Tally) -> Iterator[Subscriber]:
    made = Subscriber(tally)
    yield made
    made.sqs.delete_queue(QueueUrl=made.url)


def test_a_subscriber_hears_of_every_kind_of_end_and_of_results(tally: Tally, subscriber: Subscriber) -> None:
    """What the command shows afterwards is what came, field by field."""
    rows = b"".join(b"O%d,1,2\n" % row for row in range(20))
    good = tally.submit("good.csv", HEADER + rows)
    refused = tally.submit("refused.csv", b"nonsense\n1\n")
    with standstill(tally):
        stopped = tally.submit("stopped.csv", HEADER + rows)
        wait_for(lambda: tally.reader.batch(stopped), what="the batch")
        tally.json("cancel", stopped)
    assert tally.json("wait", good, "--exported")["exported"]["prefix"].startswith(f"results/offices/{good}/")
    assert tally.run("wait", refused).returncode == 1
    assert tally.run("wait", stopped, "--exported").returncode == 1
    wanted = [f"{good}#1", f"{good}#1#exported", f"{refused}#1", f"{stopped}#1", f"{stopped}#1#exported"]
    wait_for(lambda: subscriber.has(*wanted), what="events")
    kinds = {event_id: subscriber.got[event_id][0] for event_id in wanted}
    assert [kinds[event_id] for event_id in wanted] == [
        "Batch Completed",
        "Batch Exported",
        "Batch Rejected",
        "Batch Stopped",
        "Batch Exported",
    ]
    shown = {each["detail"]["event_id"]: each for each in tally.json("events", "--limit", "100")}
    for event_id in wanted:
        kind, detail = subscriber.got[event_id]
        assert (shown[event_id]["detail_type"], shown[event_id]["detail"]) == (kind, detail)
