"""The ``--json`` results of each command, as types: the JSON Schemas in docs/schemas are written from them."""

from typing import Any

import msgspec

from tally.results import batches, costs, develop, files, operations, rows, stages, trial

RESULTS: dict[str, tuple[Any, ...]] = {
    "audit": (batches.Audited,),
    "cancel": (batches.Held,),
    "cost": (costs.BatchCost, costs.StageCost),
    "dead": (operations.Dead,),
    "demo": (stages.Demonstrated,),
    "deploy": (stages.Up, stages.Planned),
    "destroy": (stages.Destroyed,),
    "doctor": (operations.Examined,),
    "down": (list[stages.Removed],),
    "env": (stages.Environment,),
    "error": (operations.Failed,),
    "events": (list[files.Announced],),
    "failures": (rows.Failures,),
    "invoke": (stages.Invoked, list[stages.Handler]),
    "list": (list[batches.Listed],),
    "logs": (list[operations.Logged],),
    "new": (develop.New,),
    "pause": (batches.Held,),
    "prove": (operations.Proved, operations.Cleaned),
    "queues": (operations.Queues,),
    "redrive": (batches.Redriven, batches.Followed),
    "result": (files.KeyedResult,),
    "results": (files.Fetched,),
    "resume": (batches.Held,),
    "row": (rows.FoundRow,),
    "rows": (list[rows.ListedRow],),
    "sample": (stages.Sampled,),
    "status": (batches.Status,),
    "submit": (batches.Submitted, batches.Status),
    "try": (trial.Tried, trial.TriedRow),
    "tune": (rows.Tuned,),
    "ui": (stages.Console,),
    "up": (stages.Up,),
    "verify": (files.Verified,),
    "wait": (batches.Waited,),
}
"""The result of each command by its name, one of these, and ``error`` for what any command prints when it fails."""


def schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema of a result."""
    found, components = msgspec.json.schema_components(RESULTS[name], ref_template="#/$defs/{name}")
    described = found[0] if len(found) == 1 else {"anyOf": list(found)}
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"tally {name} --json"}
    return head | described | ({"$defs": components} if components else {})


def check(name: str, result: Any) -> None:
    """Raise msgspec.ValidationError when a result is not what its schema says."""
    errors = []
    for kind in RESULTS[name]:
        try:
            msgspec.convert(result, kind)
        except msgspec.ValidationError as error:
            errors.append(error)
        else:
            return
    raise errors[-1]
