"""Rules of DynamoDB for the expressions of a request: reserved words, unused names, missing values."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

EXPRESSIONS = ("UpdateExpression", "ConditionExpression", "KeyConditionExpression", "ProjectionExpression")
MAX_EXPRESSION_BYTES = 4_096
_VERBS = ("SET", "ADD", "REMOVE", "DELETE")
_OPERATORS = frozenset({"AND", "OR", "NOT", "BETWEEN", "IN", *_VERBS})
_FUNCTIONS = frozenset(
    {"attribute_exists", "attribute_not_exists", "attribute_type", "begins_with", "contains", "size"}
    | {"if_not_exists", "list_append"}
)
_BARE = re.compile(r"(?<![#:\w])([A-Za-z_]\w*)(\s*\()?")


@cache
def reserved_words() -> frozenset[str]:
    """Return the words of the developer guide, "Reserved words in DynamoDB", as moto keeps them."""
    kept = files("moto").joinpath("dynamodb/parsing/reserved_keywords.txt").read_text(encoding="utf-8")
    return frozenset(word.strip() for word in kept.splitlines() if word.strip())


def faults(request: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the faults of the expressions in a request, or in one action of a transaction."""
    said = tuple((name, request[name]) for name in EXPRESSIONS if name in request)
    names, values = (request.get(f"ExpressionAttribute{kind}") for kind in ("Names", "Values"))
    key = frozenset(request.get("Key", ()))
    return _faults(
        said, None if names is None else tuple(names.items()), None if values is None else tuple(values), key
    )


@cache
def _faults(
    said: tuple[tuple[str, str], ...],
    names: tuple[tuple[str, str], ...] | None,
    values: tuple[str, ...] | None,
    key: frozenset[str],
) -> tuple[str, ...]:
    """Return the faults of one form of a request, cached: histories repeat the same few thousand forms."""
    found = [fault for name, expression in said for fault in _expression_faults(name, expression)]
    everything = " ".join(expression for _, expression in said)
    found += _substitutes(everything, "#", None if names is None else dict(names))
    found += _substitutes(everything, ":", None if values is None else dict.fromkeys(values))
    found += _target_faults(dict(said).get("UpdateExpression", ""), dict(names or ()), key)
    return tuple(found)


def _expression_faults(name: str, expression: str) -> Iterator[str]:
    yield from _word_faults(expression)
    if not expression.strip():
        yield f"{name} is empty"
    if len(expression.encode()) > MAX_EXPRESSION_BYTES:
        yield f"{name} has over {MAX_EXPRESSION_BYTES} bytes"


def _word_faults(expression: str) -> Iterator[str]:
    for word, bracket in _BARE.findall(expression):
        if word in _OPERATORS:
            continue
        if bracket:
            if word not in _FUNCTIONS:
                yield f"{word} is no function of DynamoDB"
        elif word.upper() in reserved_words():
            yield f"{word} is a reserved word: write #{word}, in {expression!r}"


def _substitutes(expression: str, sign: str, given: Mapping[str, Any] | None) -> Iterator[str]:
    used = set(re.findall(rf"{sign}\w+", expression))
    if given is not None and not given:
        yield f"what {sign} stands for is given, and empty"
    for name in sorted(used - set(given or ())):
        yield f"{name} is used and not given, in {expression!r}"
    for name in sorted(set(given or ()) - used):
        yield f"{name} is given and not used, in {expression!r}"


def _target_faults(expression: str, names: Mapping[str, str], key: frozenset[str]) -> Iterator[str]:
    """Return paths that one update writes twice, and keys that it writes at all."""
    clauses = re.split(rf"\b({'|'.join(_VERBS)})\b", expression)
    verbs = clauses[1::2]
    if len(set(verbs)) < len(verbs):
        yield f"an update says a verb twice: {verbs}"
    targets = [
        names.get(target, target)
        for body in clauses[2::2]
        for target in re.findall(r"(?:^|,)\s*(#?\w+)(?=\s*(?:=|:|,|$))", body.strip())
    ]
    for name in sorted({target for target in targets if targets.count(target) > 1}):
        yield f"{name} is written twice by one update"
    for name in sorted(key.intersection(targets)):
        yield f"{name} is of the key, which no update changes"
