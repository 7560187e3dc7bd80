"""Terraform's configuration of a stage, read from ``infra/``: functions, queues, and filters of the stream."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import hcl2

INFRA = Path(__file__).resolve().parents[2] / "infra"


def local(name: str, path: Path) -> Any:
    """Return a local value that is a literal; expressions stay text."""
    with path.open(encoding="utf-8") as file:
        (value,) = (block[name] for block in hcl2.load(file)["locals"] if name in block)
    return _plain(value)


def functions() -> tuple[str, ...]:
    """Return the names of all functions."""
    return tuple(local("function_defaults", INFRA / "functions.tf"))


def queues() -> dict[str, str]:
    """Return the consuming function of each queue."""
    return dict(local("queue_consumers", INFRA / "functions.tf"))


@cache
def _variables() -> dict[str, Any]:
    blocks: list[dict[str, Any]] = []
    for path in INFRA.glob("variables*.tf"):
        with path.open(encoding="utf-8") as file:
            blocks += hcl2.load(file)["variable"]
    return {str(_plain(name)): block for found in blocks for name, block in found.items()}


def default(variable: str) -> Any:
    """Return the default of a variable of the root stack."""
    return _plain(_variables()[variable]["default"])


@cache
def stream_patterns(function: str) -> tuple[Mapping[str, Any], ...]:
    """Return the patterns of the filters by which a function reads the table's stream."""
    return tuple(local("stream_patterns", INFRA / "adoption.tf")[function])


def delivers(function: str, record: Mapping[str, Any]) -> bool:
    """Tell whether Lambda delivers a stream record to a function, by its filters."""
    return any(_matches(pattern, record) for pattern in stream_patterns(function))


def _matches(pattern: Any, found: Any) -> bool:
    if isinstance(pattern, list):
        return found in pattern
    return isinstance(found, Mapping) and all(_matches(part, found.get(name)) for name, part in pattern.items())


def _plain(value: Any) -> Any:
    """Return a value as python-hcl2 reads it, without the quotes and marks that it keeps."""
    if isinstance(value, dict):
        return {str(_plain(name)): _plain(each) for name, each in value.items() if not str(name).startswith("__")}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return json.loads(value) if isinstance(value, str) and value.startswith('"') else value
