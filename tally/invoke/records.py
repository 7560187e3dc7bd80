"""The records of events, as SQS and the table's stream deliver them."""

from base64 import b64encode
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from chalicelib.settings import Settings
from chalicelib.store.items import Item


@dataclass(frozen=True, slots=True)
class Records:
    """Builds events from queues and from the stream of one stage."""

    settings: Settings

    @property
    def region(self) -> str:
        """The region of the stage."""
        return self.settings.stream_arn.split(":")[3]

    def messages(self, queue: str, *bodies: str) -> dict[str, Any]:
        """Return the event of messages that are delivered for the first time."""
        known = self.settings.queues
        arn = known[queue].arn if queue in known else f"{known['work-dlq'].arn.removesuffix('-work-dlq')}-{queue}"
        records = [
            {
                "messageId": str(uuid4()),
                "receiptHandle": "none: this is no delivery of the queue's",
                "body": body,
                "attributes": {"ApproximateReceiveCount": "1"},
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": arn,
                "awsRegion": self.region,
            }
            for body in bodies
        ]
        return {"Records": records}

    def change(self, new: Item, old: Item) -> dict[str, Any]:
        """Return the event of one change of an item; ``old`` is empty if there was none before."""
        change = {"Keys": {name: new[name] for name in ("pk", "sk")}, "NewImage": _image(new)}
        change |= {"OldImage": _image(old)} if old else {}
        record = {
            "eventID": uuid4().hex,
            "eventName": "MODIFY" if old else "INSERT",
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": self.region,
            "dynamodb": change | {"StreamViewType": "NEW_AND_OLD_IMAGES"},
            "eventSourceARN": self.settings.stream_arn,
        }
        return {"Records": [record]}


def _image(item: Item) -> dict[str, Any]:
    """Return an item in the form of an event, with binary attributes in base64."""
    return {
        name: {"B": b64encode(value["B"]).decode()} if isinstance(value.get("B"), bytes) else value
        for name, value in item.items()
    }
