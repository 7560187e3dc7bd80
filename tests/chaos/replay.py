"""What comes a second time: S3 events and records of the table's stream, by invoking the handlers with them again."""

import base64
import json
import random
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.config import Config

from tally.testing.configuration import delivers

if TYPE_CHECKING:
    from chalicelib.store.batch import Source
    from tally.stages.stage import Stage

_GROUP = 10
_AGE_SECONDS = 5.0
"""How old a record is at least when it comes again."""
_PAUSE_SECONDS = 1.0


@dataclass(slots=True)
class Replayed:
    """How much came a second time."""

    uploads: int = 0
    records: int = 0
    refused: int = 0
    """Invocations that ended in an error; a stream would deliver them once more."""


@dataclass(slots=True)
class Replays:
    """Reads the table's stream along with the functions and delivers a share of it to them again, later."""

    stage: "Stage"
    stream_arn: str
    seed: int
    share: float
    done: Replayed = field(default_factory=Replayed)
    _ended: threading.Event = field(default_factory=threading.Event)
    _kept: deque[tuple[float, list[Any]]] = field(default_factory=deque)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin with what is written from now on."""
        iterators = self._iterators()
        self._thread = threading.Thread(target=self._run, args=(iterators,), name="replays")
        self._thread.start()

    def stop(self) -> None:
        """Return when all that was kept has come again: after the batches ended, too."""
        self._ended.set()
        if self._thread:
            self._thread.join()

    def upload(self, source: "Source", size: int) -> None:
        """Deliver the S3 event of an upload again."""
        found = {"key": source.key, "versionId": source.version_id, "eTag": source.etag, "size": size}
        self._invoke("plan", [{"s3": {"bucket": {"name": source.bucket}, "object": found}}])
        self.done.uploads += 1

    def _run(self, iterators: list[str]) -> None:
        rng = random.Random(f"{self.seed}/replays")
        while True:
            ended = self._ended.is_set()
            iterators = [self._read(iterator, rng) for iterator in iterators]
            while self._kept and (ended or time.monotonic() - self._kept[0][0] > _AGE_SECONDS):
                records = self._kept.popleft()[1]
                for handler in ("dispatch", "settle"):
                    passed = [record for record in records if delivers(handler, record)]
                    if passed:
                        self._invoke(handler, passed)
                        self.done.records += len(passed)
            if ended:
                return
            self._ended.wait(_PAUSE_SECONDS)

    def _read(self, iterator: str, rng: random.Random) -> str:
        """Read on to the end, keep a share, and return where to read on."""
        while True:
            answer = self._streams.get_records(ShardIterator=iterator)
            records: list[Any] = answer["Records"]
            for begin in range(0, len(records), _GROUP):
                if rng.random() < self.share:
                    self._kept.append((time.monotonic(), records[begin : begin + _GROUP]))
            iterator = answer.get("NextShardIterator", iterator)
            if not records:
                return iterator

    def _iterators(self) -> list[str]:
        shards = self._streams.describe_stream(StreamArn=self.stream_arn)["StreamDescription"]["Shards"]
        return [
            self._streams.get_shard_iterator(
                StreamArn=self.stream_arn, ShardId=shard["ShardId"], ShardIteratorType="LATEST"
            )["ShardIterator"]
            for shard in shards
        ]

    def _invoke(self, handler: str, records: list[Any]) -> None:
        answer = self.stage.functions.invoke(
            FunctionName=f"tally-{self.stage.name}-{handler}",
            Payload=json.dumps({"Records": records}, default=_as_delivered).encode(),
        )
        if "FunctionError" in answer:
            self.done.refused += 1

    @property
    def _streams(self) -> Any:
        return client(self.stage, "dynamodbstreams")


def _as_delivered(value: Any) -> str:
    """Return what Lambda makes of a value that JSON does not know: bytes are base64, moments are not looked at."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def client(stage: "Stage", service: str) -> Any:
    """Return a client of the operator's: straight to the local AWS, past the proxy."""
    assert stage.server is not None
    return stage.session.client(  # type: ignore[call-overload]
        service, endpoint_url=stage.server.endpoint, config=Config(proxies={}, read_timeout=60)
    )
