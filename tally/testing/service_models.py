"""Rules of botocore's service models for requests: the SDK checks a part of them, and functions none."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import botocore.session
from botocore import xform_name
from botocore.model import ListShape, MapShape, Shape, StringShape, StructureShape
from botocore.validate import ParamValidator

_SESSION = botocore.session.Session()


def faults(service: str, operation: str, request: Mapping[str, Any]) -> list[str]:
    """Return the faults of a request by its service's model; ``operation`` is the client's method.

    Names, types, required members and least lengths are checked as the SDK does. Greatest lengths, enums and patterns
    are checked here, because the SDK leaves them to the service.
    """
    shape = _input_of(service, operation)
    report = ParamValidator().validate(dict(request), shape)
    return [report.generate_report()] if report.has_errors() else list(_beyond(shape, request, operation))


@cache
def _input_of(service: str, operation: str) -> Shape:
    model = _SESSION.get_service_model(service)
    (name,) = [name for name in model.operation_names if xform_name(name) == operation]
    shape: Shape | None = model.operation_model(name).input_shape
    assert shape, f"{name} takes no parameters"
    return shape


def _beyond(shape: Shape, value: Any, place: str) -> Iterator[str]:
    match shape:
        case StructureShape():
            for name, member in value.items():
                yield from _beyond(shape.members[name], member, f"{place}.{name}")
        case ListShape():
            yield from _too_many(shape, len(value), place)
            for position, member in enumerate(value):
                yield from _beyond(shape.member, member, f"{place}[{position}]")
        case MapShape():
            yield from _too_many(shape, len(value), place)
            for name, member in value.items():
                yield from _beyond(shape.key, name, f"{place} key")
                yield from _beyond(shape.value, member, f"{place}.{name}")
        case StringShape():
            yield from _text_faults(shape, value, place)
        case Shape(type_name="integer" | "long"):
            yield from _too_many(shape, value, place)
        case Shape(type_name="blob"):
            yield from _too_many(shape, len(value), place)


def _text_faults(shape: StringShape, value: str, place: str) -> Iterator[str]:
    yield from _too_many(shape, len(value), place)
    if shape.enum and value not in shape.enum:
        yield f"{place} is {value!r}, not one of {shape.enum}"
    pattern = shape.metadata.get("pattern")
    if pattern and not re.fullmatch(pattern, value):
        yield f"{place} is {value!r}, which is not of the pattern {pattern}"


def _too_many(shape: Shape, size: int, place: str) -> Iterator[str]:
    most = shape.metadata.get("max")
    if most is not None and size > most:
        yield f"{place} has {size}, at most {most} are taken"
