"""What an operator does with a stage that has just been deployed, as lines to copy."""

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from tally.stages.stage import Resources


def lines(stage: str, resources: Resources, *, jobs: str, variables: Mapping[str, Any]) -> Iterator[str]:
    """Yield what to do next, each line a heading or a command that can be copied.

    ``jobs`` are the names of the jobs, with commas between them; ``variables`` what Terraform was told beside the
    stage.
    """
    job = _example(jobs)
    sample = job == "transactions"
    file = "sample.csv" if sample else f"YOUR_{job.upper()}.csv"
    yield f"Process a file ({jobs}):"
    if sample:
        yield f"  tally sample --rows 1000 --out {file}"
    yield f"  tally submit {file} --job {job} --stage {stage} --watch"
    yield "The same without Tally:"
    yield f"  aws s3 cp {file} s3://{resources.inbox_bucket}/inbox/{job}/{file}"
    if resources.alarm_topic_arn:
        yield "Be told of alarms; nobody is until somebody subscribes and confirms the mail:"
        yield (
            f"  aws sns subscribe --topic-arn {resources.alarm_topic_arn} --protocol email "
            "--notification-endpoint YOU@EXAMPLE.COM"
        )
    else:
        yield "The stage has no alarms. With them:"
        yield f"  tally deploy --stage {stage} --var alarms=true"
    if resources.completions_queue_url:
        yield f"Take the events of batches that have ended (or add a rule to the bus {resources.event_bus}):"
        yield f"  aws sqs receive-message --queue-url {resources.completions_queue_url} --wait-time-seconds 20"
    yield "This deployment was the same as:"
    apply = " ".join(["terraform -chdir=infra apply", *_options({"stage": stage} | dict(variables))])
    yield f"  {apply}"
    yield "  terraform -chdir=infra output -raw chalice_config > app/.chalice/config.json"
    yield f"  (cd app && chalice deploy --stage {stage})"
    yield f"  {apply}"


def _example(jobs: str) -> str:
    names = jobs.split(", ")
    return "transactions" if "transactions" in names else names[0]


def _options(variables: Mapping[str, Any]) -> Iterator[str]:
    for name, value in variables.items():
        written = value if isinstance(value, str) else json.dumps(value)
        yield f"-var {shlex.quote(f'{name}={written}')}"
