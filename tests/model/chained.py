"""What must hold of chains: read from nothing but the table and the file."""

from collections.abc import Iterator, Mapping

from chalicelib import services
from chalicelib.steps.plan import batch_id
from chalicelib.store.batch import Batch, Source
from chalicelib.store.chains import Chain, NotChained, chain_sk
from chalicelib.store.items import BATCH_SK, batch_pk
from tests.model.protocol import BATCH
from tests.model.table import Item, Place

NEXT = "written"
"""The job that takes the results."""
BUCKET = services.settings().inbox_bucket
ASKED: Place = ("asked", "once more")
"""The item that says that a repair has asked once more."""
VERSION = "version#"
"""What the sort key of an object begins with; the rest is the upload that it comes from."""


def wrong(content: bytes, before: Mapping[Place, Item], after: Mapping[Place, Item]) -> Iterator[str]:
    """Say what is wrong with the chains of a table, or with the step that led to it."""
    yield from _taken_back(before, after)
    for attempt in (1, 2):
        files = _files(after, attempt)
        if len(files) > 1:
            yield f"chains: attempt {attempt} has {len(files)} files"
        for body in files.values():
            if body != _results(content, attempt):
                yield f"chains: the file of attempt {attempt} has {body!r}, and not {_results(content, attempt)!r}"
        found = _chain(after, attempt)
        if found and found.child and found.child not in files:
            yield f"chains: attempt {attempt} says that its child is {found.child}, which has no file"
        if found and found.child and found.not_chained:
            yield f"chains: attempt {attempt} has {found.child}, and has none because of {found.not_chained}"


def unchained(table: Mapping[Place, Item], *, with_failures: bool) -> Iterator[str]:
    """Say what is not chained when nothing is on its way."""
    batch = Batch.from_item(table[batch_pk(BATCH), BATCH_SK])
    found, said, files = _chain(table, batch.attempt), batch.chained, _files(table, batch.attempt)
    if found is None or said is None or said.attempt != batch.attempt:
        yield f"chains: attempt {batch.attempt} has ended, and the batch says {said}"
    elif (said.child, said.not_chained) != (found.child, found.not_chained):
        yield f"chains: the batch says {said}, its attempt {found}"
    elif found.child:
        if list(files) != [found.child]:
            yield f"chains: attempt {batch.attempt} has the files {list(files)}, and says {found.child}"
    elif batch.attempt == 1 and not with_failures:
        if found.not_chained is not NotChained.FAILURES:
            yield f"chains: attempt 1 has failures, and says {found.not_chained}"
    elif found.not_chained is not NotChained.NO_JOB or ASKED in table:
        yield f"chains: attempt {batch.attempt} has no child because of {found.not_chained}, and nothing is coming"


def upload_of(number: str) -> Place:
    """Return the place of a multipart upload."""
    return f"upload#{number}", "parts"


def _results(content: bytes, attempt: int) -> bytes:
    """Return a line for each row that succeeded; the first row fails in the first attempt."""
    lines = content.decode().splitlines()[1:]
    return b"".join(b"%s\n" % (b"{}" if row else b'"A"') for row in range(len(lines)) if row or attempt > 1)


def _files(table: Mapping[Place, Item], attempt: int) -> dict[str, bytes]:
    """Return the body of each version of the file of an attempt, by the batch that it becomes."""
    found: dict[str, bytes] = {}
    for key, sk in table:
        if sk.startswith(VERSION) and key.endswith(f"-attempt-{attempt}.jsonl"):
            upload = sk.removeprefix(VERSION)
            source = Source(bucket=BUCKET, key=key, version_id=upload, etag=upload)
            stored = table[upload_of(upload)]
            parts = range(1, 1 + int(stored["ended"]["N"]))
            found[batch_id(NEXT, source)] = b"".join(bytes(stored[f"part_{part}"]["B"]) for part in parts)
    return found


def _chain(table: Mapping[Place, Item], attempt: int) -> Chain | None:
    item = table.get((batch_pk(BATCH), chain_sk(attempt)))
    return Chain.from_item(item) if item else None


def _taken_back(before: Mapping[Place, Item], after: Mapping[Place, Item]) -> Iterator[str]:
    for attempt in (1, 2):
        then, now = _chain(before, attempt), _chain(after, attempt)
        if (
            then
            and then.upload_id
            and (now is None or now.upload_id != then.upload_id or then.child not in {"", now.child})
        ):
            yield f"chains: attempt {attempt} was decided as {then}, and is {now}"
    batch = batch_pk(BATCH), BATCH_SK
    old, new = Batch.from_item(before[batch]).chained, Batch.from_item(after[batch]).chained
    if (old and (new is None or new.attempt < old.attempt)) or (
        old and new and new.attempt == old.attempt and old.child not in {"", new.child}
    ):
        yield f"chains: the batch said {old}, and says {new}"
