"""The planner in a thread of its own, at most a number of chunks ahead of the rest."""

import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, NamedTuple, Self

from chalicelib.services import Services
from chalicelib.steps.plan import batch_id_of
from chalicelib.store.chunk import Chunk, ChunkState, is_chunk
from chalicelib.transport.uploads import Upload
from tally.testing.memory_dynamodb import MemoryDynamoDB
from tally.testing.metering import Meter

MAX_AHEAD = 300
"""About the most chunks that are cut and wait; it bounds the memory."""

Record = dict[str, Any]


class Cut(NamedTuple):
    """The number of chunks cut so far, with their rows and bytes."""

    chunks: int = 0
    rows: int = 0
    bytes: int = 0


NOTHING_CUT = Cut()


class _StoppedError(BaseException):
    """No more chunks are wanted: no step may catch this."""


class Locked:
    """A client that one thread at a time calls; ``before`` is called first, without the lock."""

    def __init__(self, client: Any, lock: threading.Lock, before: Callable[[str], None] = lambda _: None) -> None:
        self._client, self._lock, self._before = client, lock, before

    def __getattr__(self, operation: str) -> Any:
        call = getattr(self._client, operation)

        def locked(**request: Any) -> Any:
            self._before(operation)
            with self._lock:
                return call(**request)

        return locked


class Planning:
    """Plans an upload while the block runs; ``planned`` and ``others`` return the records of the table's stream.

    ``services`` makes the planner's services from its client of the table.
    """

    def __init__(
        self,
        table: MemoryDynamoDB,
        lock: threading.Lock,
        services: Callable[[Any], Services],
        upload: Upload,
    ) -> None:
        self._table, self._lock = table, lock
        self._upload = upload
        self.meter = Meter()
        self._services = services(Locked(self.meter.meters(table), lock, self._hold_back))
        self._moved = threading.Condition()
        self._planned: deque[Record] = deque()
        self._others: deque[Record] = deque()
        self._stopped = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._plan, name="planner", daemon=True)
        self.batch_id = batch_id_of(upload)
        self.seconds = 0.0
        """Processor seconds of the plan."""
        self.cut = Cut()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Cut no more chunks. Those that are cut stay."""
        with self._moved:
            self._stopped = True
            self._moved.notify_all()
        self._thread.join()
        self._sort()

    def others(self) -> list[Record]:
        """Return the stream records so far, without those of chunks that wait to be read."""
        self._sort()
        found = list(self._others)
        self._others.clear()
        return found

    def planned(self, most: int) -> list[Record]:
        """Wait for the records of chunks to read; none once the planner has ended and all were returned.

        Raises the planner's error.
        """
        with self._moved:
            while not self._sort() and self._thread.is_alive():
                self._moved.wait(0.1)
            self._sort()
            found = [self._planned.popleft() for _ in range(min(most, len(self._planned)))]
            self._moved.notify_all()
        if not found and self._error is not None:
            raise self._error
        return found

    def _sort(self) -> bool:
        """Take the records from the stream and divide them; tells whether any chunk waits to be read."""
        with self._lock:
            stream, self._table.stream[:] = list(self._table.stream), []
        for record in stream:
            image = record["dynamodb"].get("NewImage", {})
            is_planned = bool(image) and is_chunk(image) and image["state"]["S"] == ChunkState.PLANNED
            (self._planned if is_planned else self._others).append(record)
            if is_planned:
                chunk = Chunk.from_item(image)
                size = chunk.end - chunk.start
                self.cut = Cut(self.cut.chunks + 1, self.cut.rows + chunk.expected_rows, self.cut.bytes + size)
        return bool(self._planned)

    def _plan(self) -> None:
        began = time.thread_time()
        try:
            self._services.planner.plan(self._upload)
        except _StoppedError:
            pass
        except BaseException as error:  # noqa: BLE001  raised again where chunks are asked for
            self._error = error
        finally:
            self.seconds = time.thread_time() - began
            with self._moved:
                self._moved.notify_all()

    def _hold_back(self, operation: str) -> None:
        if operation != "transact_write_items":
            return
        with self._moved:
            self._moved.notify_all()  # what was written before is there to be read
            while not self._stopped and len(self._planned) >= MAX_AHEAD:
                self._moved.wait()
            if self._stopped:
                raise _StoppedError
