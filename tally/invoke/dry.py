"""A dry run: clients that read a real stage and keep writes in memory, where later reads find them.

Conditions are evaluated on the real items, so a write that the stage would refuse is refused here.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tally.errors import ExitCode, OperatorError
from tally.testing.memory_aws import MemoryS3
from tally.testing.memory_dynamodb import MemoryDynamoDB, key_names

Wire = dict[str, Any]

_READS = ("get_", "list_", "describe_", "head_", "batch_get_", "query", "exceptions", "meta")
"""Prefixes of the operations that change nothing."""
MAX_KEPT_BYTES = 1 << 30
"""The most bytes of new objects that a dry run keeps: a gzip file is unpacked into memory."""


Items = Mapping[tuple[str, str], Mapping[str, Any] | None]
"""Items by their keys; None where there is none."""


def clients(client: Callable[[str], Any], items: Items | None = None) -> Callable[[str], Any]:
    """Return clients that change nothing; each is made once, because its reads must find its own writes.

    ``items`` replace the items of the table.
    """
    made: dict[str, Any] = {}

    def table(real: Any) -> DryDynamoDB:
        return DryDynamoDB(real, items or {})

    kinds: dict[str, Callable[[Any], Any]] = {
        "dynamodb": table,
        "sqs": DrySQS,
        "events": DryEvents,
        "s3": DryS3,
        "lambda": DryLambda,
    }

    def dry(service: str) -> Any:
        if service not in made:
            made[service] = kinds[service](client(service))
        return made[service]

    return dry


class _Reading:
    """Passes reads on, and refuses every call that no subclass has, so that nothing is changed by oversight."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, operation: str) -> Any:
        if not operation.startswith(_READS):
            raise OperatorError(f"A dry run cannot show the call {operation}", code=ExitCode.UNEXPECTED)
        return getattr(self._client, operation)


class DryDynamoDB(_Reading):
    """Copies an item into memory on first use; from then on it is read and written there."""

    def __init__(self, client: Any, items: Items) -> None:
        super().__init__(client)
        self._kept = MemoryDynamoDB()
        self._kept.items |= {key: dict(item) for key, item in items.items() if item is not None}
        self._known = set(items)
        self._queried: set[str] = set()
        self._lock = threading.RLock()  # a heartbeat writes beside its row

    def get_item(self, *, TableName: str, Key: Wire, **request: Any) -> Any:  # noqa: N803
        """Return an item as it is now, or as this run has changed it."""
        with self._lock:
            self._bring(TableName, [Key])
            return self._kept.get_item(TableName=TableName, Key=Key, **request)

    def batch_get_item(self, *, RequestItems: Wire) -> Any:  # noqa: N803
        """Return items, likewise."""
        with self._lock:
            for table, request in RequestItems.items():
                self._bring(table, request["Keys"])
            return self._kept.batch_get_item(RequestItems=RequestItems)

    def query(self, **request: Any) -> Any:
        """Return all matching items, likewise; the real ones are read once for each query."""
        with self._lock:
            asked = {name: request[name] for name in request if name not in {"Limit", "ExclusiveStartKey"}}
            if str(asked) not in self._queried:
                self._bring(request["TableName"], self._keys(asked))
                self._queried.add(str(asked))
            return self._kept.query(**request)

    def put_item(self, **request: Any) -> Any:
        """Keep an item."""
        return self._write("put_item", request, [(request["TableName"], request["Item"])])

    def update_item(self, **request: Any) -> Any:
        """Change what is kept."""
        return self._write("update_item", request, [(request["TableName"], request["Key"])])

    def delete_item(self, **request: Any) -> Any:
        """Delete an item from memory."""
        return self._write("delete_item", request, [(request["TableName"], request["Key"])])

    def batch_write_item(self, *, RequestItems: Wire) -> Any:  # noqa: N803
        """Keep items."""
        items = [(table, each["PutRequest"]["Item"]) for table, asked in RequestItems.items() for each in asked]
        return self._write("batch_write_item", {"RequestItems": RequestItems}, items)

    def transact_write_items(self, **request: Any) -> Any:
        """Apply all of the changes or none."""
        actions = [action for each in request["TransactItems"] for action in each.values()]
        items = [(action["TableName"], action.get("Key") or action["Item"]) for action in actions]
        return self._write("transact_write_items", request, items)

    def _write(self, operation: str, request: Wire, items: Iterable[tuple[str, Wire]]) -> Any:
        with self._lock:
            for table, item in items:
                self._bring(table, [item])
            return getattr(self._kept, operation)(**request)

    def _keys(self, asked: Wire) -> list[Wire]:
        found: list[Wire] = []
        request = {name: asked[name] for name in asked if name != "ProjectionExpression"}
        if "ProjectionExpression" in asked:
            names = asked.get("ExpressionAttributeNames", {})
            condition = asked["KeyConditionExpression"]
            kept = {name: names[name] for name in names if name in condition}
            request = {name: request[name] for name in request if name != "ExpressionAttributeNames"}
            request |= {"ProjectionExpression": "pk, sk"} | ({"ExpressionAttributeNames": kept} if kept else {})
        while True:
            answer = self._client.query(**request)
            found += answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return found
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def _bring(self, table: str, keys: Iterable[Wire]) -> None:
        for key in keys:
            wanted = {part: key[part] for part in key_names(key)}
            first, second = (value["S"] for value in wanted.values())
            name = first, second
            if name in self._known:
                continue
            item = self._client.get_item(TableName=table, Key=wanted, ConsistentRead=True).get("Item")
            if item:
                (self._kept.items if "pk" in wanted else self._kept.results)[name] = item
            self._known.add(name)


class DrySQS(_Reading):
    """Answers that messages were sent."""

    def send_message_batch(self, *, Entries: list[Wire], **_: Any) -> Wire:  # noqa: N803
        """Send nothing."""
        return {"Successful": [{"Id": entry["Id"]} for entry in Entries], "Failed": []}

    def send_message(self, **_: Any) -> Wire:
        """Send nothing."""
        return {"MessageId": "dry-run"}

    def change_message_visibility(self, **_: Any) -> None:
        """Change nothing: the event has no message in the queue."""


class DryEvents(_Reading):
    """Answers that events were put."""

    def put_events(self, *, Entries: list[Wire]) -> Wire:  # noqa: N803
        """Put nothing."""
        return {"FailedEntryCount": 0, "Entries": [{"EventId": "dry-run"} for _ in Entries]}


class DryLambda(_Reading):
    """Answers that a function was invoked."""

    def invoke(self, **_: Any) -> Wire:
        """Invoke nothing."""
        return {"StatusCode": 202}


class DryS3(_Reading):
    """Keeps new objects in memory, and reads them there."""

    def __init__(self, client: Any) -> None:
        super().__init__(client)
        self._kept = MemoryS3()
        self._bytes = 0

    def get_object(self, *, Key: str, **request: Any) -> Any:  # noqa: N803
        """Return an object, a kept one first."""
        kept = any(key == Key for key, _ in self._kept.objects)
        return (self._kept if kept else self._client).get_object(Key=Key, **request)

    def put_object(self, *, Body: bytes, **request: Any) -> Any:  # noqa: N803
        """Keep an object."""
        self._count(Body)
        return self._kept.put_object(Body=Body, **request)

    def create_multipart_upload(self, **request: Any) -> Any:
        """Begin an upload in memory."""
        return self._kept.create_multipart_upload(**request)

    def upload_part(self, *, Body: bytes, **request: Any) -> Any:  # noqa: N803
        """Keep a part of an upload."""
        self._count(Body)
        return self._upload(request).upload_part(Body=Body, **request)

    def list_parts(self, **request: Any) -> Any:
        """Return the parts of a kept upload or of a real one."""
        return (self._kept if self._is_kept(request) else self._client).list_parts(**request)

    def complete_multipart_upload(self, **request: Any) -> Any:
        """Join the kept parts to an object."""
        return self._upload(request).complete_multipart_upload(**request)

    def abort_multipart_upload(self, **request: Any) -> Any:
        """Drop the kept parts; a real upload stays."""
        return self._kept.abort_multipart_upload(**request) if self._is_kept(request) else {}

    def _is_kept(self, request: Mapping[str, Any]) -> bool:
        return request["UploadId"] in self._kept.uploads

    def _upload(self, request: Mapping[str, Any]) -> MemoryS3:
        if not self._is_kept(request):
            raise OperatorError(
                f"A dry run cannot continue the multipart upload of {request['Key']}, which has parts in S3 already",
                hint="wait until the batch is unpacked: `tally status` says how far it is.",
                code=ExitCode.USAGE,
            )
        return self._kept

    def _count(self, body: bytes) -> None:
        self._bytes += len(body)
        if self._bytes > MAX_KEPT_BYTES:
            raise OperatorError(
                f"A dry run keeps writes in memory, at most {MAX_KEPT_BYTES:,} bytes",
                hint="use `tally try` with the file, or take a smaller file.",
                code=ExitCode.USAGE,
            )
