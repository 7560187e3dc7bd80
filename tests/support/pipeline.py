"""The whole of Tally in one process: the real handlers over AWS in memory, in whatever order a test says."""

import base64
import io
import json
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import app
from chalicelib import services
from chalicelib.retry import Retry
from chalicelib.steps.plan import batch_id_of
from chalicelib.store.batch import Batch, Source
from chalicelib.store.chunk import Chunk
from chalicelib.store.items import BATCH_SK, CHUNK_SK, batch_pk
from chalicelib.store.marker import Marker, RowOutcome
from chalicelib.transport.uploads import Upload, event_of
from tests.support.faults import Fault, FaultyClient, Killed
from tests.support.memory_dynamodb import MemoryDynamoDB, client_error
from tests.support.strict import as_strict_as_aws
from tests.support.terraform import delivers

HANDLERS = {"ingest": "ingest", "work": "process", "heavy": "process_heavy", "finished": "finish"}
QUEUES = tuple(HANDLERS)


class _Context:
    def get_remaining_time_in_millis(self) -> int:
        return 60_000


@as_strict_as_aws("sqs")
class MemorySQS:
    """Keeps what is sent, by queue URL."""

    def __init__(self) -> None:
        self.bodies: dict[str, list[str]] = defaultdict(list)

    def send_message_batch(self, *, QueueUrl: str, Entries: list[dict[str, str]]) -> dict[str, Any]:  # noqa: N803
        self.bodies[QueueUrl] += [entry["MessageBody"] for entry in Entries]
        return {"Failed": []}

    def send_message(self, *, QueueUrl: str, MessageBody: str, **_: Any) -> None:  # noqa: N803
        self.bodies[QueueUrl].append(MessageBody)

    def change_message_visibility(self, **_: Any) -> None:
        """Do nothing: time stands still here."""


@as_strict_as_aws("events")
class MemoryEvents:
    """Keeps the events that were put."""

    def __init__(self) -> None:
        self.details: list[dict[str, Any]] = []

    def put_events(self, *, Entries: list[dict[str, str]]) -> dict[str, Any]:  # noqa: N803
        self.details += [{"type": entry["DetailType"], **json.loads(entry["Detail"])} for entry in Entries]
        return {"Entries": [{"EventId": "1"} for _ in Entries]}


LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@as_strict_as_aws("s3")
class MemoryS3:
    """Keeps object versions by key and version id; those in ``deletions`` are delete markers.

    ``modified`` says how old one is. By default it is older than anything, and so none of a stage's own uploads.
    """

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], bytes] = {}
        self.modified: dict[tuple[str, str], datetime] = {}
        self.deletions: set[tuple[str, str]] = set()
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.uploads_begun = 0

    def put_object(self, *, Key: str, Body: bytes, **_: Any) -> dict[str, Any]:  # noqa: N803
        return self._put(Key, Body)

    def _put(self, key: str, body: bytes) -> dict[str, Any]:
        version = f"v{1 + sum(name == key for name, _ in self.objects)}"
        self.objects[key, version] = body
        return {"VersionId": version, "ETag": f'"{etag(version)}"'}

    def create_multipart_upload(self, *, ChecksumAlgorithm: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        assert ChecksumAlgorithm == "CRC32"
        self.uploads_begun += 1
        self.uploads[str(self.uploads_begun)] = {}
        return {"UploadId": str(self.uploads_begun)}

    def upload_part(self, *, UploadId: str, PartNumber: int, Body: bytes, **_: Any) -> dict[str, Any]:  # noqa: N803
        self._upload(UploadId)[PartNumber] = Body
        return _part(PartNumber, Body)

    def list_parts(self, *, UploadId: str, PartNumberMarker: int = 0, **_: Any) -> dict[str, Any]:  # noqa: N803
        """Return a page of two parts, so that nobody gets by without turning it."""
        left = sorted(number for number in self._upload(UploadId) if number > PartNumberMarker)
        bodies = {number: self.uploads[UploadId][number] for number in left[:2]}
        found = [{"PartNumber": n, "Size": len(body)} | _part(n, body) for n, body in bodies.items()]
        last = {"NextPartNumberMarker": left[1]} if len(left) > 2 else {}
        return {"IsTruncated": bool(last), **last} | ({"Parts": found} if found else {})

    def complete_multipart_upload(self, *, Key: str, UploadId: str, MultipartUpload: Any, **_: Any) -> dict[str, Any]:  # noqa: N803
        parts = self._upload(UploadId)
        # S3 refuses an upload whose algorithm was named and whose parts come without their checksums.
        assert MultipartUpload["Parts"] == [{"PartNumber": n} | _part(n, parts[n]) for n in range(1, len(parts) + 1)]
        del self.uploads[UploadId]
        return self._put(Key, b"".join(parts[n] for n in sorted(parts)))

    def abort_multipart_upload(self, *, UploadId: str, **_: Any) -> None:  # noqa: N803
        self._upload(UploadId)
        del self.uploads[UploadId]

    def _upload(self, upload_id: str) -> dict[int, bytes]:
        if upload_id not in self.uploads:
            raise client_error("NoSuchUpload", 404)
        return self.uploads[upload_id]

    def get_object(self, *, Key: str, Range: str, VersionId: str = "", IfMatch: str = "", **_: Any) -> dict[str, Any]:  # noqa: N803
        versions = [version for key, version in self.objects if key == Key]
        if VersionId not in ("", *versions) or not versions:
            raise client_error("NoSuchVersion" if VersionId else "NoSuchKey", 404)
        if IfMatch and IfMatch != f'"{etag(versions[-1])}"':
            raise client_error("PreconditionFailed", 412)
        first, last = Range.removeprefix("bytes=").split("-")
        data = self.objects[Key, VersionId or versions[-1]][int(first) : int(last) + 1]
        return {"Body": io.BytesIO(data), "ContentRange": f"bytes {Range}/*"}

    def list_object_versions(
        self,
        *,
        Prefix: str,  # noqa: N803
        KeyMarker: str = "",  # noqa: N803
        VersionIdMarker: str = "",  # noqa: N803
        MaxKeys: int = 3,  # noqa: N803
        **_: Any,
    ) -> dict[str, Any]:
        """Return a page: keys in order, the versions of each from the newest on."""
        assert KeyMarker or not VersionIdMarker, "S3 refuses a version without a key"
        newest_first = reversed([place for place in self.objects if place[0].startswith(Prefix)])
        places = sorted(newest_first, key=lambda place: place[0])
        if VersionIdMarker:
            places = places[places.index((KeyMarker, VersionIdMarker)) + 1 :]
        else:
            places = [place for place in places if place[0] > KeyMarker]
        page = places[:MaxKeys]
        names = ("NextKeyMarker", "NextVersionIdMarker")
        last = dict(zip(names, page[-1], strict=True)) if len(places) > len(page) else {}
        listed = {
            "Versions": [self._listed(place) for place in page if place not in self.deletions],
            "DeleteMarkers": [{"Key": key, "VersionId": name} for key, name in page if (key, name) in self.deletions],
        }
        return {"IsTruncated": bool(last), **last} | {name: found for name, found in listed.items() if found}

    def _listed(self, place: tuple[str, str]) -> dict[str, Any]:
        key, version = place
        return {
            "Key": key,
            "VersionId": version,
            "ETag": f'"{etag(version)}"',
            "Size": len(self.objects[place]),
            "LastModified": self.modified.get(place, LONG_AGO),
        }


def _part(number: int, body: bytes) -> dict[str, str]:
    checksum = base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
    return {"ETag": f'"{number}"', "ChecksumCRC32": checksum}


def etag(version: str) -> str:
    """Return the etag that a version has here."""
    return f"etag-of-{version}"


@as_strict_as_aws("lambda")
class MemoryLambda:
    """Says whether the queues' mappings report partial failures."""

    def __init__(self) -> None:
        self.reports = True
        self.uploads: list[dict[str, Any]] = []

    def invoke(self, *, FunctionName: str, InvocationType: str, Payload: bytes) -> dict[str, Any]:  # noqa: N803
        assert (FunctionName, InvocationType) == ("tally-test-plan", "Event")
        self.uploads.append(json.loads(Payload))
        return {"StatusCode": 202}

    def list_event_source_mappings(self, **_: Any) -> dict[str, Any]:
        return {"EventSourceMappings": [{"FunctionResponseTypes": ["ReportBatchItemFailures"] if self.reports else []}]}


class Pipeline:
    """Delivers uploads, messages and stream records to the handlers; ``faults`` says what each AWS call meets.

    ``deliver`` keeps the promises of AWS and no more: a message goes only when its handler has answered without it,
    a stream position moves only when its handler has returned. The stream is filtered as Terraform says.
    """

    def __init__(self, monkeypatch: Any, faults: Callable[[str], Fault] = lambda _: Fault.NONE) -> None:
        self.dynamodb = MemoryDynamoDB()
        self.sqs = MemorySQS()
        self.events = MemoryEvents()
        self.s3 = MemoryS3()
        self.lambda_ = MemoryLambda()
        self.uploads = self.lambda_.uploads
        self.received: dict[str, Counter[str]] = defaultdict(Counter)
        self.positions = {"dispatch": 0, "settle": 0}
        self.faults = faults
        self.clients = {
            name: FaultyClient(client, self._next_fault)
            for name, client in (
                ("dynamodb", self.dynamodb),
                ("sqs", self.sqs),
                ("events", self.events),
                ("s3", self.s3),
                ("lambda", self.lambda_),
            )
        }
        patched = services.Services(
            settings=services.settings(), retry=Retry(sleep=lambda _: None), client=self.clients.__getitem__
        )
        monkeypatch.setattr(services.Services, "of", lambda _: patched)
        monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "tally-test-process")

    def _next_fault(self, operation: str) -> Fault:
        return self.faults(operation)

    def upload(self, key: str, content: bytes, version: str = "v1") -> str:
        """Put an object and let its event wait; returns the id that its batch will have."""
        self.s3.objects[key, version] = content
        source = Source(bucket="inbox", key=key, version_id=version, etag=etag(version))
        upload = Upload(source=source, size=len(content))
        self.uploads.append(event_of(upload))
        return batch_id_of(upload)

    def waiting(self, queue: str) -> list[str]:
        """Return the bodies in a queue."""
        return self.sqs.bodies[services.settings().queues[queue].url]

    def work(self) -> list[str]:
        """Return the names of what has something to deliver."""
        names = ["upload"] if self.uploads else []
        names += [queue for queue in QUEUES if self.waiting(queue)]
        return names + [name for name, position in self.positions.items() if position < len(self.dynamodb.stream)]

    def deliver(self, what: str, *, most: int = 10, again: bool = False, start: int = 0) -> bool:
        """Deliver once, from ``start``; tells whether the handler answered. ``again`` keeps it to come once more."""
        try:
            if what == "upload":
                app.plan(self.uploads[start % len(self.uploads)], _Context())
                if not again:
                    del self.uploads[start % len(self.uploads)]
            elif what in QUEUES:
                self._deliver_messages(what, start, most, again=again)
            else:
                end = min(self.positions[what] + most, len(self.dynamodb.stream))
                records = [found for found in self.dynamodb.stream[self.positions[what] : end] if delivers(what, found)]
                if records:
                    getattr(app, what)({"Records": records}, _Context())
                if not again:
                    self.positions[what] = end
        except (Killed, Exception):  # noqa: BLE001  Lambda delivers again, whatever it was
            return False
        return True

    def drain(self) -> None:
        """Deliver everything, without faults, until nothing is left."""
        self.faults = lambda _: Fault.NONE
        for _ in range(10_000):
            work = self.work()
            if not work:
                return
            self.expire_leases()
            for what in work:
                # A heavy row that is delivered twice is put back while its first worker has it.
                assert self.deliver(what, most=1000) or what == "heavy"
        raise AssertionError(f"never comes to rest: {work}")

    def expire_leases(self) -> None:
        """Let the time pass after which a worker that is not heard of has lost its row."""
        for key in [key for key in self.dynamodb.items if key[1].startswith("lease#")]:
            del self.dynamodb.items[key]

    def drain_uploads(self) -> None:
        """Deliver what was uploaded, so that there is a batch."""
        while self.uploads:
            assert self.deliver("upload")

    def has_batch(self, batch: str) -> bool:
        """Tell whether a plan has made the batch."""
        return (batch_pk(batch), BATCH_SK) in self.dynamodb.items

    def batch(self, batch: str) -> Batch:
        """Return a batch as it stands."""
        return Batch.from_item(self.dynamodb.items[batch_pk(batch), BATCH_SK])

    def chunks(self, batch: str) -> list[Chunk]:
        """Return the chunks of a batch in order."""
        found = [
            item
            for (pk, sk), item in self.dynamodb.items.items()
            if sk == CHUNK_SK and pk.startswith(f"batch#{batch}#")
        ]
        return sorted(map(Chunk.from_item, found), key=lambda chunk: chunk.key.number)

    def markers(self, batch: str) -> list[Marker]:
        """Return all markers of a batch in order."""
        return [
            Marker.from_item(item)
            for (pk, sk), item in sorted(self.dynamodb.items.items())
            if sk.startswith("mark#") and pk.startswith(f"batch#{batch}#")
        ]

    def outcomes(self, batch: str) -> list[tuple[int, RowOutcome]]:
        """Return the outcomes of all rows of a batch with their chunks, in order, as often as they were counted."""
        found = [(marker.chunk.number, outcome) for marker in self.markers(batch) for outcome in marker.outcomes]
        return sorted(found, key=lambda each: (each[0], each[1].row))

    def _deliver_messages(self, queue: str, start: int, most: int, *, again: bool) -> None:
        bodies = self.waiting(queue)
        # As Terraform has it: packs come one at a time.
        most = 1 if queue in {"work", "heavy"} else min(most, 10)
        chosen = list(range(start % len(bodies), len(bodies)))[:most]
        arn = services.settings().queues[queue].arn
        received = self.received[queue]
        received.update(bodies[index] for index in chosen)
        names = _names(bodies)
        records = [
            {
                "messageId": names[index],
                "receiptHandle": "r",
                "body": bodies[index],
                "eventSourceARN": arn,
                "attributes": {"ApproximateReceiveCount": str(received[bodies[index]])},
            }
            for index in chosen
        ]
        answer = getattr(app, HANDLERS[queue])({"Records": records}, _Context())
        failed = {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}
        if not again:
            done = {index for index in chosen if names[index] not in failed}
            bodies[:] = [body for index, body in enumerate(bodies) if index not in done]


def _names(bodies: list[str]) -> list[str]:
    """Return the ids of messages: each keeps its own until it is done, those that say the same are numbered."""
    seen: Counter[str] = Counter()
    names = []
    for body in bodies:
        names.append(f"{zlib.crc32(body.encode()):08x}-{seen[body]}")
        seen[body] += 1
    return names
