"""The expected state of a stage, from Terraform's output ``expected``."""

from typing import Self

import msgspec

from tally.errors import OperatorError


class Statement(msgspec.Struct, frozen=True):
    """A statement of a role: every action on every resource, under conditions by operator, key and values."""

    sid: str
    actions: list[str]
    resources: list[str]
    condition: dict[str, dict[str, list[str]]] = {}


class Function(msgspec.Struct, frozen=True):
    """A function, by its handler's name elsewhere."""

    timeout_seconds: int
    memory_mb: int
    role_arn: str
    statements: list[Statement]


class StreamReader(msgspec.Struct, frozen=True):
    """The settings of a stream's mapping beyond those of a queue's."""

    parallelization_factor: int
    maximum_retry_attempts: int
    on_failure_arn: str


class Mapping(msgspec.Struct, frozen=True):
    """An event source mapping; ``stream`` is None for a queue, ``maximum_concurrency`` for no limit."""

    function: str
    source_arn: str
    batch_size: int
    window_seconds: int
    maximum_concurrency: int | None
    filters: list[str]
    stream: StreamReader | None


class Queue(msgspec.Struct, frozen=True):
    """A queue and its dead-letter queue; no message may come back within ``visibility_floor`` seconds."""

    url: str
    dlq_url: str
    dlq_arn: str
    max_receive_count: int
    visibility_floor: int


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """A whole stage; ``alarm_topic_arn`` is None for a stage without alarms."""

    account_id: str
    region: str
    table_name: str
    stream_arn: str
    inbox_bucket: str
    alarm_topic_arn: str | None
    reconcile_minutes: int
    queue_age_seconds: int
    iterator_age_seconds: int
    functions: dict[str, Function]
    mappings: list[Mapping]
    queues: dict[str, Queue]
    failure_queues: dict[str, str]
    results_table_name: str | None = None

    @classmethod
    def require(cls, text: str, stage: str) -> Self:
        """Read Terraform's output for a stage; raises OperatorError where there is none."""
        found = cls.read(text)
        if found is None:
            raise OperatorError(
                f"The queues of stage {stage} are not known on this machine",
                hint="run this in the checkout that deployed it, without --table, or deploy it again.",
            )
        return found

    @classmethod
    def read(cls, text: str) -> Self | None:
        """Return Terraform's output, or None if there is none; raises OperatorError if another version wrote it."""
        if not text:
            return None
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.MsgspecError as error:
            raise OperatorError(
                f"Terraform's output `expected` is of another version of Tally ({error}): deploy the stage again, or "
                "run doctor from the checkout that deployed it."
            ) from error
