"""The next steps after a deployment, as lines to copy."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tally.stages.stage import Resources


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of a deployment."""

    stage: str
    variables: Mapping[str, Any]
    var_files: Sequence[Path] = ()

    @property
    def apply(self) -> str:
        """Return the Terraform command that applies the stage."""
        files = [f"-var-file={shlex.quote(str(path.resolve()))}" for path in self.var_files]
        named = [
            f"-var {shlex.quote(f'{name}={value if isinstance(value, str) else json.dumps(value)}')}"
            for name, value in ({"stage": self.stage} | dict(self.variables)).items()
        ]
        return " ".join(["terraform -chdir=infra apply", *files, *named])


def lines(options: Options, resources: Resources, *, jobs: str) -> Iterator[str]:
    """Yield the next steps, each line a heading or a command that can be copied.

    ``jobs`` are the names of the jobs, with commas between them.
    """
    stage = options.stage
    job = _example(jobs)
    sample = job == "transactions"
    file = "sample.csv" if sample else f"YOUR_{job.upper()}.csv"
    yield "Check the stage:"
    yield f"  tally doctor --stage {stage}"
    yield f"Process a file ({jobs}):"
    if sample:
        yield f"  tally sample --rows 1000 --out {file}"
    yield f"  tally submit {file} --job {job} --stage {stage} --watch"
    yield "The same without Tally:"
    yield f"  aws s3 cp {file} s3://{resources.inbox_bucket}/inbox/{job}/{file}"
    if resources.alarm_topic_arn:
        yield "Get alarms by mail; nobody gets them until somebody subscribes and confirms:"
        yield (
            f"  aws sns subscribe --topic-arn {resources.alarm_topic_arn} --protocol email "
            "--notification-endpoint YOU@EXAMPLE.COM"
        )
    else:
        yield "The stage has no alarms. With them:"
        yield f"  tally deploy --stage {stage} --var alarms=true"
    if resources.completions_queue_url:
        yield f"Receive the events of ended batches (or add a rule to the bus {resources.event_bus}):"
        yield f"  aws sqs receive-message --queue-url {resources.completions_queue_url} --wait-time-seconds 20"
    yield "This deployment was the same as:"
    yield f"  terraform -chdir=infra workspace select -or-create {stage}"
    yield f"  {options.apply}"
    yield "  terraform -chdir=infra output -raw chalice_config > app/.chalice/config.json"
    yield f"  (cd app && chalice deploy --stage {stage})"
    yield f"  {options.apply}"


def _example(jobs: str) -> str:
    names = jobs.split(", ")
    return "transactions" if "transactions" in names else names[0]
