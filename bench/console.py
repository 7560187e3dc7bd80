"""How soon the console's pages show their content in a real browser: ``python -m bench.console``.

The items are written into a local AWS without functions; nothing runs while a page is opened. Each page is opened for
the first time, by a console that knows nothing of it yet.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

from rich.console import Console
from rich.table import Table

from tests.ui.batches import large, many
from tests.ui.conftest import STAGE, Browser, chromium, end, launch, local_aws

TRIES = 5
ROWS_OF_CHUNK = 1_000
SIZES = (100, 1_000)
"""Chunks: a hundred thousand rows and a million."""
LISTED = 5_000
GOAL_SECONDS = 2.0
_PATIENCE_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Opened:
    """The seconds of each try, from the request for a page until its content showed."""

    what: str
    seconds: list[float]


def main() -> None:
    """Open each page in turn, and print the medians."""
    with tempfile.TemporaryDirectory() as folder, local_aws(Path(folder)) as local, chromium() as driver:
        for chunks in SIZES:
            for number in range(TRIES):
                local.write(large(_name(chunks, number), chunks=chunks, rows_each=ROWS_OF_CHUNK))
        browser = Browser(driver)
        browser.patience = _PATIENCE_SECONDS
        console = launch(STAGE, local.environ)
        try:
            browser.open(console.url)
            browser.open(f"{console.home}stage")  # scripts and styles are in the browser's cache from here on
            browser.says("Tally")
            found = [_batch(browser, console.home, chunks) for chunks in SIZES]
            local.write(many(LISTED))
            browser.open(f"{console.home}stage")
            found.append(
                _opened(
                    f"the list of {LISTED:,} batches, its first page",
                    browser,
                    lambda _number: console.home,
                    lambda: "transactions-" in browser.text,
                )
            )
        finally:
            end([console])
    show(found)


def _batch(browser: Browser, home: str, chunks: int) -> Opened:
    rows = chunks * ROWS_OF_CHUNK

    def drawn() -> bool:
        return f"of {rows:,} rows" in browser.text and "all succeeded" in browser.chart("heat")

    return _opened(f"a batch of {rows:,} rows", browser, lambda number: f"{home}batch/{_name(chunks, number)}", drawn)


def _name(chunks: int, number: int) -> str:
    return f"b{chunks}-{number}"


def _opened(what: str, browser: Browser, address: Callable[[int], str], there: Callable[[], bool]) -> Opened:
    seconds = []
    for number in range(TRIES):
        browser.open("about:blank")
        began = perf_counter()
        browser.open(address(number))
        while not _safely(there):
            if perf_counter() - began > _PATIENCE_SECONDS:
                raise TimeoutError(f"{what} shows nothing after {_PATIENCE_SECONDS} s")
        seconds.append(perf_counter() - began)
    return Opened(what, seconds)


def _safely(there: Callable[[], bool]) -> bool:
    try:
        return there()
    except Exception:  # noqa: BLE001  the page is being made
        return False


def show(found: list[Opened]) -> None:
    """Print the seconds of each page, beside those of the smallest batch."""
    table = Table("page", "median, s", "longest, s", "beside the small batch")
    least = median(found[0].seconds)
    for each in found:
        took = median(each.seconds)
        table.add_row(each.what, f"{took:.2f}", f"{max(each.seconds):.2f}", f"{took / least:.2f} x")
    Console().print(table)
    large_batch = next(each for each in found if "1,000,000" in each.what)
    verdict = "kept" if median(large_batch.seconds) < GOAL_SECONDS else "missed"
    Console().print(f"A batch of a million rows opens in under {GOAL_SECONDS:.0f} s: {verdict}.")


if __name__ == "__main__":
    main()
