"""Chains as the explorer runs them: uploads to S3 as items of the table, a next job that may not be deployed yet."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from botocore.exceptions import ClientError

from chalicelib import jobs, rows
from chalicelib.chaining import Then
from chalicelib.errors import FatalError
from chalicelib.files import sink
from chalicelib.files.dialect import Dialect
from chalicelib.rows import Schema
from chalicelib.steps import chain
from chalicelib.store.chains import Chain
from chalicelib.store.items import BATCH_SK
from chalicelib.store.table import Put
from chalicelib.transport.messages import ExportMessage, decode, encode
from tally.testing.memory_dynamodb import client_error
from tests.model import chained, exporting
from tests.model.chained import ASKED, BUCKET, NEXT, VERSION, upload_of
from tests.model.exporting import EXPORT_QUEUE, FIRST_END
from tests.model.protocol import BATCH, COUNTED, QUEUES, Tally
from tests.model.replay import Operation, Tape, TapedDynamoDB
from tests.model.system import Message, Start
from tests.model.table import Item, Place
from tests.support.builders import NOW, RETRY
from tests.support.builders import table as table_of

ASK = "ask once more"
"""The message that a repair sends when the next job is there by now."""
_UPLOADS: Place = ("uploads", "begun")
_REPLACED = "InvalidPart"
"""What S3 says where an upload does not hold the parts that it is to be completed with."""


class _Row(rows.Row):
    name: str


@dataclass(frozen=True, slots=True)
class Chaining(Tally):
    """Tally with the export function's chains: each attempt's results are the next job's, also if rows failed.

    An upload has parts of four bytes, which is about a row. While an outage lasts the next job is not deployed.
    """

    with_failures: bool = True
    queues: Mapping[str, str] = field(
        default_factory=lambda: {
            QUEUES["ingest"]: "ingest",
            QUEUES["work"]: "process",
            QUEUES["finished"]: "finish",
            EXPORT_QUEUE: "chain",
        }
    )

    def deliver(self, handler: str, messages: Sequence[Message], tape: Tape) -> None:
        """Run the handler of a queue."""
        if handler != "chain":
            Tally.deliver(self, handler, messages, tape)
            return
        tape.forgets = self.forgets
        dynamodb: Any = TapedDynamoDB(tape)
        s3: Any = _Bucket(tape)
        chainer = _Chainer(
            table=table_of(dynamodb),
            s3=s3,
            bucket=BUCKET,
            retry=RETRY,
            settling=timedelta(),
            clock=lambda: NOW,
            tape=tape,
        )
        with self._deployed(tape), patch.object(sink, "PART_BYTES", 4), patch.object(chain, "READERS", 1):
            for body, _ in messages:
                while not chainer.is_done(decode(body, ExportMessage)):
                    tape.forget()  # the message comes again

    def consume(self, consumer: str, records: Sequence[Any], tape: Tape) -> None:
        """Run a handler of the stream; settle asks for chains."""
        with self._deployed(tape):
            Tally.consume(self, consumer, records, tape)

    def command(self, name: str, tape: Tape) -> None:
        """Run what an operator starts."""
        if name != ASK:
            Tally.command(self, name, tape)
            return
        tape.ask(Operation.SEND, to_chain())
        table_of(TapedDynamoDB(tape)).put(Put(item=_key(ASKED)))

    def view(self, handler: str, position: int, item: Item) -> Item:
        """Return a batch item without what matters to a decision only: that reads it second, after the decisions."""
        if handler == "chain" and position > 1 and item["sk"]["S"] == BATCH_SK and self.forgets:
            return {**{name: value for name, value in item.items() if name not in COUNTED}, "status": {"S": "running"}}
        return Tally.view(self, handler, position, item)

    def violation(self, before: Mapping[Place, Item], after: Mapping[Place, Item]) -> str:
        """Say which invariant a table breaks."""
        found = [Tally.violation(self, before, after), *chained.wrong(self.content, before, after)]
        return "; ".join(filter(None, found))

    def unrest(self, table: Mapping[Place, Item], events: Collection[str]) -> str:
        """Say what is not settled when nothing is on its way."""
        return Tally.unrest(self, table, {*events, FIRST_END}) or "; ".join(
            chained.unchained(table, with_failures=self.with_failures)
        )

    @contextmanager
    def _deployed(self, tape: Tape) -> Iterator[None]:
        parent = replace(jobs.require("offices"), then=Then(job=NEXT, with_failures=self.with_failures))
        child = jobs.Job(name=NEXT, schema=Schema.of(_Row, Dialect.of(NEXT, {"FORMAT": "jsonl"})), process=str)

        def find(name: str) -> jobs.Job | None:
            return parent if name == parent.name else None if tape.ask(Operation.ASK, name) else child

        with patch.object(jobs, "find", find), patch.object(jobs, "require", lambda _: parent):
            yield


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chainer(chain.Chainer):
    tape: Tape

    def is_done(self, message: ExportMessage) -> bool:
        """Chain; tells whether the message may be deleted, which one whose parts another has replaced may not."""
        try:
            self.chain(message)
        except FatalError as error:
            if _REPLACED in str(error):
                return False
            raise
        return True

    def _upload(self, found: Chain) -> Chain | None:
        self.tape.forget(found)
        ended = chain.Chainer._upload(self, found)
        self.tape.forget(ended)
        return ended


@dataclass(frozen=True, slots=True)
class _Bucket:
    """A client of S3 whose uploads are items.

    As in S3 an upload that has ended is no more. It is completed with the parts that are named, if they are what the
    one who completes it has stored, and without others.
    """

    tape: Tape

    def create_multipart_upload(self, **_: Any) -> dict[str, str]:
        request = {
            "TableName": "tally-test",
            "Key": _key(_UPLOADS),
            "UpdateExpression": "ADD n :one",
            "ExpressionAttributeValues": {":one": {"N": "1"}},
            "ReturnValues": "ALL_NEW",
        }
        answer = self.tape.ask(Operation.WRITE, ("update_item", request))
        return {"UploadId": answer["Attributes"]["n"]["N"]}

    def upload_part(self, *, UploadId: str, PartNumber: int, Body: bytes, **_: Any) -> dict[str, str]:  # noqa: N803
        self._write(_change(UploadId, f"SET part_{PartNumber} = :value", {"B": bytes(Body)}))
        return {"ETag": Body.hex()}

    def complete_multipart_upload(
        self,
        *,
        Key: str,  # noqa: N803
        UploadId: str,  # noqa: N803
        MultipartUpload: dict[str, Any],  # noqa: N803
        **_: Any,
    ) -> dict[str, str]:
        parts = {part["PartNumber"]: {"B": bytes.fromhex(part["ETag"])} for part in MultipartUpload["Parts"]}
        version = _key((Key, VERSION + UploadId))
        put = {"Put": {"TableName": "tally-test", "Item": version}}
        self._write(_change(UploadId, "SET ended = :value", {"N": str(len(parts))}, parts), put)
        return _version(version)

    def abort_multipart_upload(self, *, UploadId: str, **_: Any) -> None:  # noqa: N803
        self._write(_change(UploadId, "SET ended = :value", {"N": "0"}))

    def head_object(self, *, Key: str, **_: Any) -> dict[str, str]:  # noqa: N803
        found = self.tape.ask(Operation.NEXT, (Key, VERSION, ""))
        if not found:
            raise client_error("404", 404)
        return _version(found)

    def _write(self, *actions: dict[str, Any]) -> None:
        try:
            self.tape.ask(Operation.WRITE, ("transact_write_items", {"TransactItems": list(actions)}))
        except ClientError as error:
            answer: Any = error.response
            for reason in answer.get("CancellationReasons", []):
                if reason["Code"] == "ConditionalCheckFailed":
                    raise client_error("NoSuchUpload" if "ended" in reason["Item"] else _REPLACED) from error
            raise


def _change(upload: str, expression: str, value: Any, parts: Mapping[int, Any] | None = None) -> dict[str, Any]:
    """Return a change of an upload that has not ended, and has these parts."""
    stored = {f"part_{number}": body for number, body in (parts or {}).items()}
    conditions = ["attribute_not_exists(ended)", *(f"{name} = :{name}" for name in stored)]
    return {
        "Update": {
            "TableName": "tally-test",
            "Key": _key(upload_of(upload)),
            "UpdateExpression": expression,
            "ConditionExpression": " AND ".join(conditions),
            "ExpressionAttributeValues": {":value": value, **{f":{name}": body for name, body in stored.items()}},
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
    }


def _version(item: Item) -> dict[str, str]:
    upload = item["sk"]["S"].removeprefix(VERSION)
    return {"VersionId": upload, "ETag": f'"{upload}"'}


def to_chain() -> tuple[str, str]:
    """Return the message that asks for the chain of the first attempt."""
    return EXPORT_QUEUE, encode(ExportMessage(batch=BATCH, attempt=1, chain=True))


def to_be_chained(*chunks: str) -> Start:
    """Return where a batch has ended whose first row has failed, and its results are asked for as a next job's."""
    return Start(items=exporting.ended(*chunks).items, messages=[to_chain()])


def _key(place: Place) -> Item:
    return {"pk": {"S": place[0]}, "sk": {"S": place[1]}}
