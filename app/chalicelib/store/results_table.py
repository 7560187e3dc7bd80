"""The results table: one item a key of a job, of the newest row that has it. Nothing is ever deleted from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from botocore.exceptions import ClientError

from chalicelib.errors import FatalError
from chalicelib.keys import Unsaved, UnsavedError
from chalicelib.store.attributes import attribute, value_of
from chalicelib.store.items import Item, number, number_of, text, text_of
from chalicelib.store.pacing import item_size
from chalicelib.store.table import Put

if TYPE_CHECKING:
    from chalicelib.store.table import Table

MAX_ITEM_BYTES = 400 * 1024
"""DynamoDB developer guide, "Quotas"."""

HAS_NO_ITEM = "attribute_not_exists(batch_id)"
"""The key has no item yet."""
IS_OF_AN_OLDER_BATCH = "batch_created_at < :batch_created_at"
"""A file that came later says more."""
IS_OF_A_BATCH_CREATED_AT_ONCE = "(batch_created_at = :batch_created_at AND batch_id < :batch_id)"
"""Of two batches of the same microsecond the same one wins each time."""
IS_OF_AN_OLDER_ATTEMPT = "(batch_id = :batch_id AND attempt < :attempt)"
"""An attempt has every row of the one before it that succeeded, and those that were redriven."""
IS_OF_THIS_LINE_OR_ONE_ABOVE = "(batch_id = :batch_id AND attempt = :attempt AND #line <= :line)"
"""The row that comes last in the file wins; the same row once more changes nothing."""
_ANY = (
    HAS_NO_ITEM,
    IS_OF_AN_OLDER_BATCH,
    IS_OF_A_BATCH_CREATED_AT_ONCE,
    IS_OF_AN_OLDER_ATTEMPT,
    IS_OF_THIS_LINE_OR_ONE_ABOVE,
)
MAY_BE_REPLACED = " OR ".join(_ANY)
_ORDER = ("batch_created_at", "batch_id", "attempt", "line")
"""The attributes that the clauses compare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyedResult:
    """The item of a key in the results table: the result of a row, and where the row is from.

    ``result`` is what the job returned, as JSON knows it. ``batch_created_at`` is when the batch of the file was made,
    ``line`` is where the row begins in the file, ``expires_at`` in seconds since 1970 or None for never.
    """

    key: str
    job: str
    batch_id: str
    batch_created_at: str
    attempt: int
    line: int
    result: Any
    expires_at: int | None = None

    def to_item(self) -> dict[str, Any]:
        """Return the item; raises UnsavedError if DynamoDB would not take it."""
        item = {
            "key": text(self.key),
            "job": text(self.job),
            "batch_id": text(self.batch_id),
            "batch_created_at": text(self.batch_created_at),
            "attempt": number(self.attempt),
            "line": number(self.line),
            "result": attribute(self.result),
            **({} if self.expires_at is None else {"expires_at": number(self.expires_at)}),
        }
        if (size := item_size(item)) > MAX_ITEM_BYTES:
            raise UnsavedError(Unsaved.TOO_LARGE, f"the item has {size:,} bytes, at most {MAX_ITEM_BYTES:,} are taken")
        return item

    @classmethod
    def from_item(cls, item: Item) -> Self:
        """Read an item."""
        return cls(
            key=text_of(item, "key"),
            job=text_of(item, "job"),
            batch_id=text_of(item, "batch_id"),
            batch_created_at=text_of(item, "batch_created_at"),
            attempt=number_of(item, "attempt"),
            line=number_of(item, "line"),
            result=value_of(item["result"]),
            expires_at=number_of(item, "expires_at") or None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultsTable:
    """Reads and writes the results table of a stage."""

    table: "Table"

    def put(self, item: Mapping[str, Any]) -> bool:
        """Put an item that ``KeyedResult.to_item`` made, unless a newer row has its key; tells whether it did.

        Repeated it answers the same. Raises UnsavedError if DynamoDB refuses the item for what is in it.
        """
        values = {f":{name}": item[name] for name in _ORDER}
        try:
            return self.table.put(Put(item=item, condition=MAY_BE_REPLACED, values=values))
        except FatalError as error:
            cause = error.__cause__
            if isinstance(cause, ClientError) and cause.response["Error"]["Code"] == "ValidationException":
                raise UnsavedError(Unsaved.NOT_STORABLE, cause.response["Error"]["Message"]) from error
            raise

    def find(self, job: str, key: str) -> KeyedResult | None:
        """Return the item of a key of a job as it is now, None if there is none."""
        answer = self.table.retry(
            self.table.dynamodb.get_item,
            TableName=self.table.name,
            Key={"key": text(key), "job": text(job)},
            ConsistentRead=True,
        )
        return KeyedResult.from_item(answer["Item"]) if "Item" in answer else None
