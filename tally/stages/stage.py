"""A stage for commands: its AWS, the names of its resources, and clients to reach them."""

import contextlib
import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import boto3
import botocore.session
from botocore.config import Config

from tally.errors import OperatorError
from tally.local import localaws
from tally.stages.gate import Gate
from tally.stages.workspace import Workspace
from tally.tools import terraform
from tally.tools.subprocess import Runner

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_s3 import S3Client

# The SDK's default mode and attempts changed over its versions; a command line can afford patience.
_RETRIES = Config(retries={"mode": "standard", "total_max_attempts": 8}, connect_timeout=5, read_timeout=60)
MAX_LOG_REQUESTS_A_SECOND = 4
"""CloudWatch Logs takes five FilterLogEvents a second of an account in a region, and raises that for nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Terraform's resources of a stage; empty where not known."""

    table: str
    inbox_bucket: str
    event_bus: str = ""
    completions_queue_url: str = ""
    alarm_topic_arn: str = ""
    region: str = ""
    expected: str = ""
    """The expected state for ``tally doctor``, as JSON."""
    standing: str = ""
    """The resources that cost while the stage is idle, as JSON: see ``tally.batch.idle``."""
    results_table: str = ""
    """The table of results by key; empty also for a stage that has none."""

    @classmethod
    def from_outputs(cls, outputs: Mapping[str, Any]) -> Self:
        """Return the resources from Terraform's outputs."""
        return cls(
            table=str(outputs["table_name"]),
            inbox_bucket=str(outputs["inbox_bucket"]),
            event_bus=str(outputs.get("event_bus_name") or ""),
            completions_queue_url=str(outputs.get("completions_queue_url") or ""),
            alarm_topic_arn=str(outputs.get("alarm_topic_arn") or ""),
            region=str(outputs.get("region") or ""),
            expected=str(outputs.get("expected") or ""),
            standing=str(outputs.get("standing") or ""),
            results_table=str(outputs.get("results_table_name") or ""),
        )

    def save(self, path: Path) -> None:
        """Write the resources to a file for ``read``."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=2), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Return the saved resources, or None."""
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return None


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage that can be talked to; ``server`` is None in AWS."""

    name: str
    resources: Resources
    server: localaws.Server | None = None
    named: tuple[str, ...] = ()
    """The options beside --stage that it was found by, as a command takes them."""
    client_config: Config = _RETRIES
    """Retries and timeouts of its clients."""

    @cached_property
    def session(self) -> boto3.Session:
        """The session: the caller's default chain in AWS; for a local AWS without the caller's profile and files."""
        if self.server is None:
            # The SDK itself reads AWS_DEFAULT_REGION only.
            known = None if os.environ.get("AWS_DEFAULT_REGION") else self.resources.region
            return boto3.Session(region_name=os.environ.get("AWS_REGION") or known or None)
        isolated = botocore.session.Session(
            session_vars={
                "profile": (None, None, None, None),
                "config_file": (None, None, os.devnull, None),
                "credentials_file": (None, None, os.devnull, None),
            }
        )
        return boto3.Session(
            botocore_session=isolated,
            aws_access_key_id=localaws.CREDENTIAL,
            aws_secret_access_key=localaws.CREDENTIAL,
            region_name=localaws.REGION,
        )

    @cached_property
    def dynamodb(self) -> "DynamoDBClient":
        """The table's client."""
        return self.session.client("dynamodb", endpoint_url=self._endpoint, verify=self._verify, config=self._config)

    @cached_property
    def s3(self) -> "S3Client":
        """The inbox's client."""
        path_style = Config(s3={"addressing_style": "path"} if self.server else {})
        config = self._config.merge(path_style)
        return self.session.client("s3", endpoint_url=self._endpoint, verify=self._verify, config=config)

    @cached_property
    def functions(self) -> "LambdaClient":
        """The functions' client."""
        return self.session.client("lambda", endpoint_url=self._endpoint, verify=self._verify, config=self._config)

    @cached_property
    def logs(self) -> Any:
        """The client of the functions' logs; in AWS its requests, retries too, wait for their turn."""
        made = self.session.client("logs", endpoint_url=self._endpoint, verify=self._verify, config=self._config)
        if self.server is None:
            gate = Gate(MAX_LOG_REQUESTS_A_SECOND)
            made.meta.events.register_first("request-created", lambda **_event: gate.wait())
        return made

    def client(self, service: str) -> Any:
        """Return the client of any service, by boto3's name for it."""
        match service:
            case "dynamodb":
                return self.dynamodb
            case "s3":
                return self.s3
            case "lambda":
                return self.functions
            case "logs":
                return self.logs
            case _:
                return self.session.client(  # type: ignore[call-overload]
                    service, endpoint_url=self._endpoint, verify=self._verify, config=self._config
                )

    @property
    def _endpoint(self) -> str | None:
        return self.server.endpoint if self.server else None

    @property
    def _verify(self) -> str | None:
        return self.server.certificate or None if self.server else None

    @property
    def _config(self) -> Config:
        # Loopback must not go through a proxy, and an empty mapping keeps the environment's proxies out.
        return self.client_config.merge(Config(proxies={})) if self.server else self.client_config

    def watch_command(self, batch: str) -> str:
        """Return the command that watches a batch of this stage."""
        return shlex.join(["tally", "status", batch, "--watch", "--stage", self.name, *self.named])

    @property
    def where_to_look(self) -> str:
        """Where to look when a batch is stuck."""
        if self.server:
            return f"`tally logs --stage {self.name}`; docs/runbook.md says what to do"
        return (
            f"the alarms and dead-letter queues of tally-{self.name}, and `tally logs --stage {self.name}`; "
            "docs/runbook.md says what to do"
        )


def find(
    workspace: Workspace,
    name: str,
    *,
    table: str = "",
    bucket: str = "",
    environ: Mapping[str, str],
    fresh: bool = False,
) -> Stage:
    """Return a stage: local if it has a folder here, else in AWS.

    ``table`` and ``bucket`` replace Terraform's outputs where there is no state to read them from. With ``fresh``
    Terraform is asked again where possible, because somebody else may have deployed the stage since. Raises
    OperatorError if a local stage is down, or if the names of the stage's resources are not known.
    """
    given = {"--table": table, "--bucket": bucket}
    named = tuple(part for option, value in given.items() if value for part in (option, value))
    folder = workspace.stage(name)
    if folder.exists:
        server, resources = localaws.running(folder), Resources.read(folder.outputs)
        if server is None or resources is None:
            raise OperatorError(f"The local stage {name} is not up", hint=f"run `tally up --stage {name}`.")
        return Stage(name=name, resources=_override(resources, table, bucket), server=server, named=named)
    known = Resources.read(workspace.aws_outputs(name))
    if fresh and not table:
        # An earlier answer is better than none.
        with contextlib.suppress(OperatorError):
            known = _ask_terraform(workspace, name, environ) or known
    if known is None and not table:
        known = _ask_terraform(workspace, name, environ)
    if known is None and not table:
        raise OperatorError(
            f"There is no stage {name} on this machine",
            hint=f"`tally up --stage {name}` makes a local one, `tally deploy --stage {name}` one in AWS. For a "
            "stage deployed elsewhere give --table and --bucket (TALLY_TABLE, TALLY_INBOX_BUCKET).",
        )
    resources = _override(known or Resources(table="", inbox_bucket=""), table, bucket)
    return Stage(name=name, resources=resources, named=named)


def _override(resources: Resources, table: str, bucket: str) -> Resources:
    overridden = asdict(resources)
    overridden |= {name: value for name, value in {"table": table, "inbox_bucket": bucket}.items() if value}
    return Resources(**overridden)


def _ask_terraform(workspace: Workspace, name: str, environ: Mapping[str, str]) -> Resources | None:
    infra = workspace.repo / "infra"
    if not (infra / ".terraform").is_dir():
        return None
    terraform.require(environ)
    runner = Runner(env={**environ, "TF_WORKSPACE": name}, log=workspace.aws_log(name))
    outputs = terraform.Terraform.at(infra, runner).outputs()
    if "table_name" not in outputs:
        return None
    resources = Resources.from_outputs(outputs)
    resources.save(workspace.aws_outputs(name))
    return resources
