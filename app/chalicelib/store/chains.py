"""Chains of batches: what an attempt's results became, kept by the attempt, and what both batches say of it."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

from chalicelib.errors import NotFoundError
from chalicelib.store.items import BATCH_SK, Item, batch_pk, key, number, number_of, text, text_of
from chalicelib.store.table import Put, Update

if TYPE_CHECKING:
    from chalicelib.store.table import Table

DEPLOYMENT_MAY_CHANGE_IT = "(not_chained = :no_job OR not_chained = :unfit)"
"""The next job was missing, or read another format: nothing was uploaded, and a deployment may have changed that."""
IS_NEW_OR_MAY_CHANGE = f"attribute_not_exists(pk) OR {DEPLOYMENT_MAY_CHANGE_IT}"
"""An attempt has one decision: which job takes the results, in which multipart upload, or why none ever does."""
IS_OF_THIS_DECISION = "upload_id = :upload_id"
"""The end of an upload is noted on its own decision; one that has replaced it since is left alone."""
IS_THE_LATEST = (
    "attribute_exists(pk) AND (attribute_not_exists(chained_attempt) OR chained_attempt < :attempt "
    f"OR (chained_attempt = :attempt AND {DEPLOYMENT_MAY_CHANGE_IT}))"
)
"""The batch is there, and says nothing final of this attempt or a later one: an old message takes nothing back."""

_FOLDER = "chained"
_KEY = re.compile(rf"inbox/[^/]+/{_FOLDER}/(?P<batch>[A-Za-z0-9_-]+)-attempt-(?P<attempt>\d{{1,6}})\.jsonl")


class NotChained(StrEnum):
    """Why the results of an attempt became no batch of the next job."""

    FAILURES = "failures"  # rows failed or were rejected, and the job does not say THEN_WITH_FAILURES
    STOPPED = "stopped"  # the batch was cancelled, or too many rows failed
    NO_RESULTS = "no_results"  # no row succeeded
    NO_JOB = "no_job"  # the deployment does not have the next job
    UNFIT = "unfit"  # the next job reads no JSON lines in UTF-8
    TOO_DEEP = "too_deep"  # the batch is the last that a chain may have
    FILE_GONE = "file_gone"  # the file was deleted before it was noted, or its upload was never completed in days


MAY_CHANGE = frozenset({NotChained.NO_JOB, NotChained.UNFIT})
"""Reasons that a deployment may remove: nothing was uploaded, so that it may be decided once more."""
_MAY_CHANGE = {f":{reason}": text(reason) for reason in sorted(MAY_CHANGE)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """The batch, and its attempt, whose results a batch is made of; ``depth`` is how many batches are before it."""

    batch_id: str
    attempt: int
    depth: int

    def to_item(self) -> dict[str, Any]:
        """Return the attributes of a batch that keep it."""
        return {
            "parent": text(self.batch_id),
            "parent_attempt": number(self.attempt),
            "depth": number(self.depth),
        }

    @classmethod
    def from_item(cls, item: Item) -> Self | None:
        """Read the parent of a batch; None if it was uploaded."""
        if "parent" not in item:
            return None
        return cls(
            batch_id=text_of(item, "parent"),
            attempt=number_of(item, "parent_attempt"),
            depth=number_of(item, "depth"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Chained:
    """The decision about the results of an attempt: a batch of the job ``then``, or why not."""

    then: str
    attempt: int
    child: str = ""
    not_chained: NotChained | None = None

    @classmethod
    def from_item(cls, item: Item) -> Self | None:
        """Read the note of a batch on its results; None if no attempt of it came so far."""
        if "chained_attempt" not in item:
            return None
        return cls(
            then=text_of(item, "then"),
            attempt=number_of(item, "chained_attempt"),
            child=text_of(item, "child"),
            not_chained=_reason(item),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The decision for one attempt: the job ``then`` takes its results, in this multipart upload, or why it does not.

    ``child`` is the id of the batch that they became, empty until the file is there.
    """

    batch_id: str
    attempt: int
    then: str
    depth: int
    decided_at: str
    upload_id: str = ""
    child: str = ""
    not_chained: NotChained | None = None

    @property
    def key(self) -> str:
        """The key to which the results are uploaded."""
        return chained_key(self.then, self.batch_id, self.attempt)

    @property
    def chained(self) -> Chained | None:
        """The note on the batch's item; None until the file is there, or the reason why there is none."""
        if not (self.child or self.not_chained):
            return None
        return Chained(then=self.then, attempt=self.attempt, child=self.child, not_chained=self.not_chained)

    def to_item(self) -> dict[str, Any]:
        """Return the item of a decision."""
        return {
            **key(batch_pk(self.batch_id), chain_sk(self.attempt)),
            "attempt": number(self.attempt),
            "then": text(self.then),
            "depth": number(self.depth),
            "decided_at": text(self.decided_at),
            "upload_id": text(self.upload_id),
            **({"not_chained": text(self.not_chained)} if self.not_chained else {}),
        }

    @classmethod
    def from_item(cls, item: Item) -> Self:
        """Read the item of a decision."""
        return cls(
            batch_id=text_of(item, "pk").removeprefix(batch_pk("")),
            attempt=number_of(item, "attempt"),
            then=text_of(item, "then"),
            depth=number_of(item, "depth"),
            decided_at=text_of(item, "decided_at"),
            upload_id=text_of(item, "upload_id"),
            child=text_of(item, "child"),
            not_chained=_reason(item),
        )


def chain_sk(attempt: int) -> str:
    """Return the sort key of the decision for an attempt."""
    return f"chain#{attempt:06d}"


def chained_key(job: str, batch_id: str, attempt: int) -> str:
    """Return the key under which the results of an attempt become the file of a job."""
    return f"inbox/{job}/{_FOLDER}/{batch_id}-attempt-{attempt}.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chains:
    """Keeps the decisions in the partitions of the batches that they are about."""

    table: "Table"

    def find(self, batch_id: str, attempt: int) -> Chain | None:
        """Return the decision for an attempt, None if there is none yet."""
        item = self.table.get(batch_pk(batch_id), chain_sk(attempt))
        return Chain.from_item(item) if item else None

    def decide(self, chain: Chain) -> Chain:
        """Put a decision if there is none, or one that may change; returns the one that stands."""
        self.table.put(Put(item=chain.to_item(), condition=IS_NEW_OR_MAY_CHANGE, values=_MAY_CHANGE))
        standing = self.find(chain.batch_id, chain.attempt)
        if standing is None:
            raise NotFoundError(f"there is no {chain_sk(chain.attempt)} of {chain.batch_id}: was the batch deleted?")
        return standing

    def note_end(self, chain: Chain) -> None:
        """Note how a decision ended, with it and on the batch; safe to repeat, and to be late."""
        if chain.child:
            name, value = "child", chain.child
        elif chain.not_chained:
            name, value = "not_chained", chain.not_chained
        else:
            return
        pk, noted = batch_pk(chain.batch_id), {":value": text(value)}
        self.table.update(
            Update(
                pk=pk,
                sk=chain_sk(chain.attempt),
                expression=f"SET {name} = :value",
                condition=IS_OF_THIS_DECISION,
                values={**noted, ":upload_id": text(chain.upload_id)},
            )
        )
        # Dying before this is written means that the message comes again, finds the decision, and writes it.
        other = "not_chained" if name == "child" else "child"
        self.table.update(
            Update(
                pk=pk,
                sk=BATCH_SK,
                expression=f"SET {name} = :value, #then = :then, chained_attempt = :attempt REMOVE {other}",
                condition=IS_THE_LATEST,
                values={**noted, ":then": text(chain.then), ":attempt": number(chain.attempt), **_MAY_CHANGE},
            )
        )

    def parent_of(self, object_key: str, job: str) -> Parent | None:
        """Return the parent of the batch of an object; None if no attempt decided to upload its results there.

        A key alone proves nothing: anybody who may upload may choose it.
        """
        found = _KEY.fullmatch(object_key)
        chain = self.find(found["batch"], int(found["attempt"])) if found else None
        if chain is None or not chain.upload_id or chain.then != job or chain.key != object_key:
            return None
        return Parent(batch_id=chain.batch_id, attempt=chain.attempt, depth=chain.depth)


def _reason(item: Item) -> NotChained | None:
    return NotChained(text_of(item, "not_chained")) if "not_chained" in item else None
