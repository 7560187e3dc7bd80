"""The results of a run of ``tally prove``, on the terminal and as a page."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from tally.look import Column, Kind
from tally.output import Output
from tally.prove.probe import Result, Verdict

_COLUMNS = ("probe", "expected", "seen", "verdict")
_KINDS = (Kind.WORDS, Kind.TEXT, Kind.TEXT, Kind.WORDS)


def show(output: Output, results: Sequence[Result]) -> None:
    """Write the table of all probes."""
    output.table(
        "",
        list(map(Column, _COLUMNS, _KINDS)),
        [_row(result) for result in results],
    )
    counts = [(verdict, sum(result.verdict is verdict for result in results)) for verdict in Verdict]
    output.say(f"{len(results)} probes: " + ", ".join(f"{count} {verdict}" for verdict, count in counts if count))


def passed(results: Sequence[Result]) -> bool:
    """Tell whether every probe that could be made passed, and at least one could."""
    made = [result for result in results if result.verdict not in {Verdict.ONLY_ON_AWS, Verdict.REFUSED}]
    return bool(made) and all(result.verdict is Verdict.PASSED for result in made)


def write(path: Path, stage: str, where: str, results: Sequence[Result], now: datetime) -> None:
    """Write the results as a page in Markdown."""
    lines = [f"# Proof of stage {stage}", "", f"{where}, {now:%Y-%m-%d %H:%M} UTC.", ""]
    lines += [f"| {' | '.join((*_COLUMNS, 'seconds'))} |", "|---|---|---|---|---|"]
    lines += [f"| {' | '.join((*map(_cell, _row(result)), f'{result.seconds:.1f}'))} |" for result in results]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _row(result: Result) -> tuple[str, str, str, str]:
    return result.name, result.expected, result.seen, result.verdict.value


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
