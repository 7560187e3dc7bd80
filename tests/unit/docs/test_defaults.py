"""A default or a limit in a sentence is that of the code or of Terraform; tables of them are generated.

Each entry has the page, the words around the figure with ``{}`` in its place, and where the figure is from. Who changes
the sentence changes the entry; who changes the figure is told of every sentence.
"""

import re

import pytest

from chalicelib import chaining, jobs, keys
from chalicelib.files import records
from chalicelib.headers import MAX_HEADER_BYTES
from chalicelib.steps import dead_letters, failed_plans, process, run, settle, unpack
from chalicelib.store import attributes, items, results_table
from chalicelib.transport import messages
from tally.batch import failures, reasons
from tally.cli import tally
from tally.corrections import matching, problems
from tally.draft import columns, sample
from tally.testing import configuration
from tally.ui import batch_feed, batches_page, budget, heat_map, server, submit_page
from tests.support.inventory import REPO

WORDS = {1: "one", 2: "two", 3: "three", 5: "five", 6: "six", 7: "seven", 10: "ten", 50: "fifty"}
MIB = 1_048_576
GB = 10**9


def of(variable: str) -> str:
    """Return the default of a variable of Terraform."""
    value = configuration.default(variable)
    return f"{value:,}" if isinstance(value, int) else str(value)


def function(name: str, setting: str) -> int:
    """Return what Terraform gives a function."""
    return int(configuration.local("function_defaults", configuration.INFRA / "functions.tf")[name][setting])


def option(command: str, name: str) -> str:
    """Return the default of an option of the command line."""
    (found,) = (each for each in tally.commands[command].params if each.name == name)
    return f"{found.default:g}" if isinstance(found.default, float) else str(found.default)


HEAVY_SECONDS = str(function("process_heavy", "timeout_seconds"))
STREAM_TRIES = str(configuration.local("stream_retry_attempts", configuration.INFRA / "adoption.tf"))
HEAVY_MINUTES = str(function("process_heavy", "timeout_seconds") // 60)
PLAN_MINUTES = [factor * configuration.default("reconcile_minutes") for factor in failed_plans.WAITS]

SENTENCES: list[tuple[str, str, str]] = [
    ("README.md", "A row up to {} KB", str(items.MAX_ITEM_BYTES // 1000)),
    ("README.md", "its result up to {} KB", str(messages.MAX_MESSAGE_BYTES // 1024)),
    ("README.md", "its work up to {} minutes", HEAVY_MINUTES),
    ("README.md", "a local AWS, {} sample rows", f"{int(option('demo', 'rows')):,}"),
    ("docs/architecture.md", "A chunk of up to {} rows, where nothing", of("chunk_rows")),
    ("docs/architecture.md", "closes up to {} chunks", str(settle._MAX_CHUNKS)),
    ("docs/architecture.md", "every {} seconds, so a crash", f"{run.FLUSH_SECONDS:g}"),
    ("docs/architecture.md", "longer than {} seconds at the pace", f"{run.SPLIT_SECONDS:g}"),
    ("docs/architecture.md", "cut into about {} messages", str(run._PIECES)),
    ("docs/architecture.md", "sent again, up to {} times; then its rows fail as", str(dead_letters.MAX_RETURNS)),
    ("docs/architecture.md", "planned again one, six and {} `reconcile_minutes`", str(failed_plans.WAITS[2])),
    ("docs/concepts.md", "| **chunk** | Up to {} rows of the file", of("chunk_rows")),
    ("docs/glossary.md", "at most {} rows. It is stored", of("chunk_rows")),
    ("docs/console.md", "{} by default, or a free one", str(server.DEFAULT_PORT)),
    ("docs/console.md", "newest first, {} a page", str(batches_page._PAGE)),
    ("docs/console.md", "from up to {} chunks", str(batch_feed.SAMPLED_CHUNKS)),
    ("docs/console.md", "more than {} chunks a square", f"{heat_map.MAX_CELLS:,}"),
    ("docs/console.md", "over its first {} rows", f"{submit_page._TRIED_ROWS:,}"),
    ("docs/console.md", "at most {} requests a second", WORDS[budget.MAX_REQUESTS_A_SECOND]),
    ("docs/jobs.md", "rows of a chunk at most, up to {}, instead", f"{jobs._MAX_CHUNK_ROWS:,}"),
    ("docs/jobs.md", "instead of the stage's {}", of("chunk_rows")),
    ("docs/jobs.md", "(`.csv.gz`) up to {} GB unpacked", str(unpack.MAX_BYTES // (10 * GB) * 10)),
    ("docs/jobs.md", "It reads a whole file of up to {} MB", str(sample.WHOLE_BYTES // MIB)),
    (
        "docs/jobs.md",
        "Of a larger one it reads {} MB",
        str((sample._HEAD_BYTES + sample._PIECES * sample._PIECE_BYTES) // MIB),
    ),
    ("docs/jobs.md", "further and further apart, up to {} GB unpacked", str(sample._MAX_UNPACKED_BYTES // 1024 // MIB)),
    ("docs/jobs.md", "up to {} values, each", str(columns._MAX_CHOICES)),
    ("docs/jobs.md", "a chain of more than {} jobs", WORDS[chaining.MAX_JOBS]),
    ("docs/jobs.md", "ends after {} jobs", WORDS[chaining.MAX_JOBS]),
    ("docs/jobs.md", "So its {} s are enough", str(function("export", "timeout_seconds"))),
    ("docs/jobs.md", "it has more than {} bytes", f"{keys.MAX_KEY_BYTES:,}"),
    ("docs/jobs.md", "the item has more than {} KB", str(results_table.MAX_ITEM_BYTES // 1024)),
    ("docs/jobs.md", "a number has more than {} digits", str(attributes._MAX_DIGITS)),
    ("docs/jobs.md", "the result has more than {} levels", str(attributes.MAX_LEVELS)),
    ("docs/results.md", "`retention_days` from the upload, {} by default", of("retention_days")),
    ("docs/results.md", "from the end of the attempt, {} by default", of("results_retention_days")),
    ("docs/results.md", "waits {} minute for results", {"60": "a"}[option("results", "timeout")]),
    ("docs/faq.md", "They stay for {} days", of("results_retention_days")),
    ("docs/faq.md", "| rows, markers | kept for {} days | `retention_days` |", of("retention_days")),
    ("docs/faq.md", "Wait for `reconcile_minutes` ({})", of("reconcile_minutes")),
    ("docs/faq.md", "gzip up to {} GB unpacked. **A row?**", str(unpack.MAX_BYTES // (10 * GB) * 10)),
    ("docs/faq.md", "**A row?** {} bytes", f"{items.MAX_ITEM_BYTES:,}"),
    ("docs/faq.md", "**A result?** {} KiB as JSON", str(messages.MAX_MESSAGE_BYTES // 1024)),
    ("docs/faq.md", "A minute, or {} minutes if the job says", HEAVY_MINUTES),
    ("docs/faq.md", "| one record or line | {} MiB |", str(records.MAX_RECORD_BYTES // MIB)),
    ("docs/faq.md", "| one row as it is kept | {} bytes |", f"{items.MAX_ITEM_BYTES:,}"),
    ("docs/faq.md", "| result of one row | {} KiB |", str(messages.MAX_MESSAGE_BYTES // 1024)),
    ("docs/faq.md", "| columns of a header | {} KiB of names |", str(MAX_HEADER_BYTES // 1024)),
    ("docs/faq.md", "| rows of a chunk | {} |", f"{jobs._MAX_CHUNK_ROWS:,}"),
    ("docs/faq.md", "| one row's time | {} s, heavy", str(function("process", "timeout_seconds"))),
    ("docs/faq.md", "s, heavy {} s |", HEAVY_SECONDS),
    ("docs/failures.md", "They read at most {} chunks", str(failures.MAX_SAMPLED_CHUNKS)),
    ("docs/failures.md", "show the {} most frequent reasons", WORDS[failures.MAX_TOP]),
    ("docs/failures.md", "A pattern has about {} characters", str(reasons._MAX_PATTERN_CHARACTERS)),
    ("docs/failures.md", "After {} different reasons", f"{reasons.MAX_SENTENCES:,}"),
    ("docs/failures.md", "with more than {} forms", WORDS[reasons.MAX_FORMS]),
    ("docs/failures.md", "The first {} lines that cannot run are named", str(problems.MAX_SHOWN)),
    ("docs/failures.md", "are over {} MiB together", str(matching.MAX_CHUNK_BYTES // MIB)),
    ("docs/failures.md", "`--limit` ({} by default)", option("rows", "limit")),
    ("docs/runbook.md", "sent again, up to {} times", str(dead_letters.MAX_RETURNS)),
    ("docs/runbook.md", "for {} days after they were first sent", of("dlq_retention_days")),
    ("docs/runbook.md", "every {} minutes, for", WORDS[6 * function("dead_letters", "timeout_seconds") // 60]),
    ("docs/runbook.md", "`reconcile_minutes` after {} minutes,", str(PLAN_MINUTES[0])),
    ("docs/runbook.md", "minutes, {} minutes and two hours", str(PLAN_MINUTES[1])),
    ("docs/runbook.md", "30 minutes and {} hours", WORDS[PLAN_MINUTES[2] // 60]),
    (
        "docs/runbook.md",
        "after {} tries it goes to",
        STREAM_TRIES,
    ),
    ("docs/runbook.md", "wait, up to {} minutes between two tries", str(process.CAP_DELAY_SECONDS // 60)),
    ("docs/runbook.md", "wait, up to {} minutes a try", HEAVY_MINUTES),
    ("docs/runbook.md", "Lambda runs {} s at most", HEAVY_SECONDS),
]


def complaint(text: str, sentence: str, value: str) -> str:
    """Say what is wrong with a sentence of a page; nothing if it is there with this value."""
    flat = " ".join(text.split())
    before, after = (re.escape(part) for part in sentence.split("{}"))
    found = re.findall(rf"{before}([\w,]*\w){after}", flat)
    if not found:
        return f"the page does not say {sentence!r} any more: give the sentence that it has instead"
    return "" if set(found) == {value} else f"the page says {found}, the code {value}: {sentence!r}"


def page(name: str) -> str:
    return (REPO / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "sentence", "value"), SENTENCES)
def test_a_figure_in_a_sentence_is_that_of_the_code(name: str, sentence: str, value: str) -> None:
    assert complaint(page(name), sentence, value) == ""


@pytest.mark.parametrize(("name", "sentence", "value"), SENTENCES)
def test_another_figure_is_found_in_the_page_and_in_the_code(name: str, sentence: str, value: str) -> None:
    """Mutants: the page has another figure, the code has, the sentence is gone."""
    flat = " ".join(page(name).split())
    mutant = flat.replace(sentence.format(value), sentence.format("13"))
    assert "the page says ['13']" in complaint(mutant, sentence, value)
    assert "the page says" in complaint(flat, sentence, "13")
    assert "any more" in complaint(flat.replace(sentence.format(value), ""), sentence, value)
