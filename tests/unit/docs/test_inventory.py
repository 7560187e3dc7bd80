"""Everything that the code declares by name has a line in the pages, and no page has a line for what is gone."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_type_hints

import click
import msgspec
import pytest

from chalicelib.events.detail import EVENTS
from chalicelib.files import dialect
from chalicelib.keys import Unsaved
from chalicelib.metrics import Metric
from chalicelib.results.lines import ResultLine
from chalicelib.results.manifest import Manifest, ManifestPart
from chalicelib.steps.export import Exported
from chalicelib.steps.reconcile import Repairs
from chalicelib.steps.run import Processed
from chalicelib.steps.save import Saved
from chalicelib.store.batch import BatchStatus
from chalicelib.store.chunk import ChunkState
from chalicelib.store.items import Outcome
from tally.cli import tally
from tally.corrections.problems import Kind
from tally.errors import ExitCode
from tally.testing import configuration
from tests.support.inventory import MADE_UP, REPO, Inventory, coded, in_table, log_events, sources, with_more

DETAILS = {
    "rows.processed": set(Processed().sizes),
    "results.exported": set(Exported().sizes),
    "results.saved": set(Saved().sizes),
    "results.chained": {"batch_id", "attempt", "then"},
    "results.not_chained": {"batch_id", "attempt", "then"},
    "batch.repaired": set(Repairs("b").sizes),
}
"""Fields of log events that the code puts together elsewhere."""


def _options(commands: Mapping[str, click.Command]) -> set[str]:
    return {
        f"{name} {each}"
        for name, command in commands.items()
        for option in command.params
        if isinstance(option, click.Option) and not option.hidden and option.name not in {"stage", "as_json", "debug"}
        for each in (*option.opts, *option.secondary_opts)
    }


def _documented_options(page: str) -> set[str]:
    sections = re.split(r"^### tally ", page, flags=re.MULTILINE)[1:]
    return {
        f"{section.split(maxsplit=1)[0]} {option}"
        for section in sections
        for first in re.findall(r"^\| `([^`]*)` \|", section, re.MULTILINE)
        for option in re.findall(r"(?<![\w-])-{1,2}[a-z][a-z-]*", first)
    }


def _more_options(commands: Mapping[str, click.Command]) -> dict[str, click.Command]:
    return {
        **commands,
        "list": click.Command("list", params=[*commands["list"].params, click.Option([f"--{MADE_UP}"])]),
    }


def _job_settings(found: Mapping[str, str]) -> set[str]:
    asked = re.findall(r'(?:getattr\(module, |attributes\.get\()"(\w+)"', "".join(found.values()))
    return {*asked, *dialect.ATTRIBUTES} - {"Row", "process"}


def _stage_variables(found: Mapping[str, str]) -> set[str]:
    """Return the variables of the root stack: those of its modules are set by it."""
    root = (text for path, text in found.items() if re.fullmatch(r"infra/\w+\.tf", path))
    return {name for text in root for name in re.findall(r'^variable "(\w+)"', text, re.MULTILINE)}


def _read_variables(found: Mapping[str, str]) -> set[str]:
    text = "".join(found.values())
    read = re.findall(r'(?:envvar=|environ\.get\(|environ\[|getenv\()"([A-Z_]+)"', text)
    return {name for name in read if name.startswith(("TALLY_", "NO_COLOR", "TERM", "COLUMNS"))}


def _fields(kind: Any, before: str = "") -> Iterator[str]:
    """Yield the names of the fields of a Struct, those of another Struct in it after its own name and a dot."""
    hints = get_type_hints(kind)
    for field in msgspec.structs.fields(kind):
        inner = [each for each in (hints[field.name], *get_args(hints[field.name])) if _is_struct(each)]
        if inner and (inner[0] is not ManifestPart or field.name == "parts"):
            yield from _fields(inner[0], f"{before}{field.encode_name}.")
        else:
            yield f"{before}{field.encode_name}"


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _event_fields(events: Mapping[str, list[str]]) -> set[str]:
    return {f"{event} {field}" for event, fields in events.items() for field in fields}


def _described_event_fields(page: str) -> set[str]:
    return {
        f"Batch {slug.removeprefix('batch-').capitalize()} {field}"
        for slug, table in re.findall(r"<!-- fields of ([a-z-]+) -->\n(.*?)<!-- end -->", page, re.DOTALL)
        for field in re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    }


def _log_events(found: Mapping[str, str]) -> set[str]:
    """Return each event with each of its fields: ``batch.planned status``."""
    names = set()
    for event, fields in log_events(found):
        names |= {event, *(f"{event} {field}" for field in fields | DETAILS.get(event, set()))}
    return names


def _described_log_events(page: str) -> set[str]:
    rows = re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \| [A-Z, ]+ \| ([^|]*) \|", page, re.MULTILINE)
    return {name for event, fields in rows for name in (event, *(f"{event} {field}" for field in coded(fields)))}


def _make_targets(found: Mapping[str, str]) -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+):.*## ", found["Makefile"], re.MULTILINE))


def _named(values: Any) -> Any:
    """Return the inventory of an enumeration: what is declared, and one value more."""
    return {
        "source": lambda: [str(each.value) for each in values],
        "declared": set,
        "grown": lambda found: [*found, MADE_UP],
    }


INVENTORIES = [
    Inventory(
        kind="command",
        source=lambda: tally.commands,
        declared=set,
        grown=lambda found: {**found, MADE_UP: click.Command(MADE_UP)},
        page="docs/cli.md",
        described=lambda page: set(re.findall(r"^### tally (\S+)$", page, re.MULTILINE)),
    ),
    Inventory(
        kind="option",
        source=lambda: tally.commands,
        declared=_options,
        grown=_more_options,
        page="docs/cli.md",
        described=_documented_options,
    ),
    Inventory(
        kind="exit status",
        **_named(ExitCode),
        page="docs/cli.md",
        described=lambda page: set(re.findall(r"^  (\d+) ", page, re.MULTILINE)),
    ),
    Inventory(
        kind="setting of a job",
        source=lambda: sources("app/chalicelib"),
        declared=_job_settings,
        grown=with_more(f'getattr(module, "{MADE_UP}", None)', "app/chalicelib/jobs/__init__.py"),
        page="docs/settings.md",
        described=in_table("settings of a job"),
    ),
    Inventory(
        kind="variable of a stage",
        source=lambda: sources("infra", suffix="*.tf"),
        declared=_stage_variables,
        grown=with_more(f'variable "{MADE_UP}" {{}}', "infra/variables.tf"),
        page="docs/settings.md",
        described=in_table("variables of a stage"),
    ),
    Inventory(
        kind="function",
        source=configuration.functions,
        declared=set,
        grown=lambda found: (*found, MADE_UP),
        page="docs/settings.md",
        described=in_table("functions"),
    ),
    Inventory(
        kind="variable that the command line reads",
        source=lambda: sources("tally"),
        declared=lambda found: _read_variables(found) | {"NO_COLOR"},  # Rich reads it
        grown=with_more(f'os.environ.get("TALLY_{MADE_UP.upper()}")', "tally/output.py"),
        page="docs/settings.md",
        described=lambda page: {
            name for name in in_table("variables of the command line")(page) if not name.startswith("AWS_")
        },
    ),
    Inventory(
        kind="variable of the functions",
        source=lambda: sources("infra", suffix="outputs.tf"),
        declared=lambda found: set(re.findall(r"\bTALLY_[A-Z_]+\b", found["infra/outputs.tf"])),
        grown=with_more(f"TALLY_{MADE_UP.upper()} = 1", "infra/outputs.tf"),
        page="docs/settings.md",
        described=in_table("variables of the functions"),
    ),
    Inventory(
        kind="event",
        source=lambda: [str(event.TYPE) for event in EVENTS],
        declared=set,
        grown=lambda found: [*found, MADE_UP],
        page="docs/events.md",
        described=lambda page: set(re.findall(r"^### (Batch \w+)$", page, re.MULTILINE)),
    ),
    Inventory(
        kind="field of an event",
        source=lambda: {
            str(event.TYPE): [field.encode_name for field in msgspec.structs.fields(event)] for event in EVENTS
        },
        declared=_event_fields,
        grown=lambda found: {**found, "Batch Completed": [*found["Batch Completed"], MADE_UP]},
        page="docs/events.md",
        described=_described_event_fields,
    ),
    Inventory(kind="metric", **_named(Metric), page="docs/architecture.md", described=in_table("metrics")),
    Inventory(
        kind="log event",
        source=lambda: sources("app"),
        declared=_log_events,
        grown=with_more(f'logger.info("{MADE_UP}.event", {MADE_UP}=1)', "app/app.py"),
        page="docs/logs.md",
        described=_described_log_events,
    ),
    Inventory(kind="outcome", **_named(Outcome), page="docs/concepts.md", described=in_table("outcomes")),
    Inventory(kind="state", **_named(BatchStatus), page="docs/concepts.md", described=in_table("states of a batch")),
    Inventory(kind="state", **_named(ChunkState), page="docs/concepts.md", described=in_table("states of a chunk")),
    Inventory(kind="kind of problem", **_named(Kind), page="docs/failures.md", described=in_table("kinds of problems")),
    Inventory(kind="code", **_named(Unsaved), page="docs/jobs.md", described=in_table("codes of unsaved rows")),
    Inventory(
        kind="field of the manifest",
        source=lambda: list(_fields(Manifest)),
        declared=set,
        grown=lambda found: [*found, MADE_UP],
        page="docs/results.md",
        described=in_table("fields of the manifest"),
    ),
    Inventory(
        kind="field of a line of results",
        source=lambda: list(_fields(ResultLine)),
        declared=set,
        grown=lambda found: [*found, MADE_UP],
        page="docs/results.md",
        described=in_table("fields of a line of results"),
    ),
    Inventory(
        kind="target of make",
        source=lambda: {"Makefile": (REPO / "Makefile").read_text(encoding="utf-8")},
        declared=_make_targets,
        grown=with_more(f"{MADE_UP.replace('_', '-')}: ## Do something", "Makefile"),
        page="CONTRIBUTING.md",
        described=in_table("targets of make"),
    ),
]


def _id(inventory: Inventory) -> str:
    return f"{inventory.kind} {inventory.page}"


@pytest.mark.parametrize("inventory", INVENTORIES, ids=_id)
def test_the_page_describes_all_that_there_is_and_nothing_else(inventory: Inventory) -> None:
    assert inventory.complaints(inventory.source(), inventory.text()) == []


@pytest.mark.parametrize("inventory", INVENTORIES, ids=_id)
def test_a_name_that_the_code_gets_is_missed(inventory: Inventory) -> None:
    """A mutant of the code declares one name more."""
    found = inventory.complaints(inventory.grown(inventory.source()), inventory.text())
    assert found
    assert all(MADE_UP in each.lower().replace("-", "_") and "does not describe it" in each for each in found)


@pytest.mark.parametrize("inventory", INVENTORIES, ids=_id)
def test_each_name_that_the_page_loses_is_missed_and_what_it_has_instead_is_gone(inventory: Inventory) -> None:
    """A mutant of the page for each name of the code: it has another name in its place."""
    source, page = inventory.source(), inventory.text()
    names = inventory.declared(source)
    words = {name.split()[-1] for name in names}
    for word in words:
        mutant = re.sub(rf"(?<![\w.-]){re.escape(word)}(?![\w.-])", "zzz", page)
        found = inventory.complaints(source, mutant)
        assert any(f"{word}: " in each and "does not describe it" in each for each in found), word
