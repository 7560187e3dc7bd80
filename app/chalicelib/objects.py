"""From an object of a JSON line to a row, or to a reason that names its fields."""

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from chalicelib.columns import NOT_FINITE, compared, explained, is_finite, listed, shown, taker
from chalicelib.errors import job_errors
from chalicelib.files.dialect import Extra

if TYPE_CHECKING:
    from chalicelib.rows import Row, Schema

_NULL = msgspec.Raw(b"null")
_TEXT, _ANY = taker(str), taker(Any)
_GOT = re.compile(r", got [\w-]+(?= at |$)")


class ObjectReader:
    """Reads the objects of one chunk."""

    def __init__(self, schema: "Schema") -> None:
        self._schema = schema
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(schema.row).decode
        self._nulls = {self._encode(text) for text in schema.dialect.nulls}
        self._fields: dict[str, str | None] = {}

    def read(self, values: Mapping[str, msgspec.Raw]) -> "tuple[Row, dict[str, Any]] | str":
        """Return a row and the values that no field matches, or a reason, to be put after the line's number."""
        schema = self._schema
        named: dict[str, msgspec.Raw] = {}
        others: dict[str, msgspec.Raw] = {}
        for name, value in values.items():
            try:
                field = self._fields[name]
            except KeyError:
                field = self._fields[name] = schema.matches.get(compared(name))
            if field is None:
                others[name] = value
            elif field in named:
                return f", field '{shown(name)}': it repeats '{field}'"
            else:
                named[field] = value
        present = {field: value for field, value in named.items() if not self._is_empty(value)}
        for field in schema.nullable_required:
            present.setdefault(field, _NULL)
        if others and schema.dialect.extra is Extra.REJECT:
            return self._refused(named, present, others)
        try:
            row = self._decode(self._encode(present))
            if not all(is_finite(value) for value in msgspec.structs.astuple(row)):
                raise msgspec.ValidationError(NOT_FINITE)
            extra = {name: msgspec.json.decode(value) for name, value in others.items()} if schema.keeps_extra else {}
        except job_errors() as error:  # also what a __post_init__ of the job's own raises
            return self._refused(named, present, others) or self._own_refusal(error)
        return row, extra

    def _is_empty(self, value: msgspec.Raw) -> bool:
        """Tell whether a value is null, or one of the job's texts that mean nothing."""
        if value == _NULL:
            return True
        if not self._nulls:
            return False
        data = bytes(value)
        if data[:1] != b'"' or b"\\" not in data:
            return data in self._nulls
        return msgspec.json.decode(data) in self._schema.dialect.nulls

    def _refused(
        self,
        named: Mapping[str, msgspec.Raw],
        present: Mapping[str, msgspec.Raw],
        others: Mapping[str, msgspec.Raw],
    ) -> str:
        """Say what is wrong with the fields of an object; empty if none of them is."""
        schema = self._schema
        bad = [f"field '{shown(field)}': {reason}" for field, reason in self._bad(present, schema.cells)]
        bad += [
            f"field '{shown(field)}': {'empty' if field in named else 'missing'}"
            for field in schema.columns
            if field in schema.required and field not in present
        ]
        if schema.dialect.extra is Extra.REJECT:
            bad += [f"field '{shown(name)}': unknown" for name in others]
        elif schema.keeps_extra:
            bad += [
                f"field '{shown(name)}': {reason}" for name, reason in self._bad(others, dict.fromkeys(others, _ANY))
            ]
        return f", {listed(bad)}" if bad else ""

    def _own_refusal(self, error: BaseException) -> str:
        message, name = self._schema.own_refusal(error)
        return f", field '{shown(name)}': {message}" if name in self._schema.columns else f", row: {message}"

    def _bad(
        self, values: Mapping[str, msgspec.Raw], takers: Mapping[str, type[msgspec.Struct] | None]
    ) -> Iterator[tuple[str, str]]:
        for field, value in values.items():
            try:
                found = msgspec.json.decode(self._encode({"value": value}), type=takers[field] or _TEXT)
                reason = "" if all(map(is_finite, msgspec.structs.astuple(found))) else NOT_FINITE
            except msgspec.ValidationError as error:
                reason = _GOT.sub("", explained(error))
            if reason:
                yield field, f"{reason}, got '{shown(bytes(value).decode())}'"
