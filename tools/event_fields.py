"""The fields of events in docs/events.md and docs/schemas/events, from the types of the events."""

import re
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
from msgspec import Meta

from chalicelib.events.detail import EVENTS, Detail

PAGE = Path(__file__).parents[1] / "docs" / "events.md"

__all__ = ["EVENTS", "PAGE", "schema", "slug", "with_tables"]


def slug(event: type[Detail]) -> str:
    """Return the name of an event's schema: ``batch-completed``."""
    return event.TYPE.lower().replace(" ", "-")


def schema(event: type[Detail]) -> dict[str, Any]:
    """Return the JSON Schema of an event's detail. It allows for other fields, because more may come."""
    (found,), components = msgspec.json.schema_components([event], ref_template="#/$defs/{name}")
    described = components.pop(event.__name__) if "$ref" in found else found
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": event.TYPE.value}
    return (
        head
        | {name: each for name, each in described.items() if name != "title"}
        | ({"$defs": components} if components else {})
    )


def with_tables(page: str) -> str:
    """Return the page with current tables of fields."""
    tables = {slug(event): _table(event) for event in EVENTS}
    return re.sub(
        r"(<!-- fields of (?P<slug>[a-z-]+) -->\n).*?(<!-- end -->)",
        lambda found: f"{found[1]}{tables[found['slug']]}{found[3]}",
        page,
        flags=re.DOTALL,
    )


def _table(event: type[Detail]) -> str:
    hints = get_type_hints(event, include_extras=True)
    lines = ["| field | what it is |", "|---|---|"]
    for field in msgspec.structs.fields(event):
        (meta,) = [each for each in hints[field.name].__metadata__ if isinstance(each, Meta)]
        lines.append(f"| `{field.encode_name}` | {meta.description} |")
    return "\n".join(lines) + "\n"
