"""Files that are dropped on the page, as an operating system's file manager drops them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from selenium.webdriver.common.by import By

from tally.ui.chooser import name_of

GOOD = "office_id,user_count,contract_count\nA,2,5\nB,x,1\n"


def drop(browser: Any, *files: Path) -> None:
    """Drag files over the page and let them go, through the browser's own handling of a drag."""
    spot = browser.driver.find_element(By.CSS_SELECTOR, ".q-uploader").rect
    point = {"x": spot["x"] + spot["width"] / 2, "y": spot["y"] + spot["height"] / 2}
    data = {"items": [], "files": [str(file) for file in files], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        browser.driver.execute_cdp_cmd("Input.dispatchDragEvent", {"type": kind, **point, "data": data})


@pytest.fixture
def submit(browser: Any, inside: str) -> Callable[..., None]:
    """Open the page, and return what drops files on it."""
    browser.open(f"{inside}submit")
    browser.says("Drop a file here", "up to 1 GB")
    return lambda *files: drop(browser, *files)


def test_a_dropped_file_is_tried(browser: Any, submit: Callable[..., None], tmp_path: Path) -> None:
    file = tmp_path / "offices.csv"
    file.write_text(GOOD, encoding="utf-8")
    submit(file)
    browser.says("Dry run", "2 rows, 1 succeeded, 0 failed, 1 rejected", "tally try offices offices.csv")


def test_of_two_files_one_is_taken_and_the_other_is_named(
    browser: Any, submit: Callable[..., None], tmp_path: Path
) -> None:
    first, second = tmp_path / "offices.csv", tmp_path / "other.csv"
    for file in (first, second):
        file.write_text(GOOD, encoding="utf-8")
    submit(first, second)
    browser.says("other.csv: left out, one file is taken at a time.", "tally try offices offices.csv")
    submit(first)
    browser.wait(lambda: "left out" not in browser.text, "what was left out is no longer said")
    browser.says("tally try offices offices.csv")


def test_a_folder_is_said_to_be_none_and_the_next_file_is_taken(
    browser: Any, submit: Callable[..., None], tmp_path: Path
) -> None:
    folder = tmp_path / "offices"
    folder.mkdir()
    (tmp_path / "offices.csv").write_text(GOOD, encoding="utf-8")
    submit(folder)
    browser.says("A folder cannot be submitted, only a file.")
    submit(tmp_path / "offices.csv")
    browser.says("2 rows, 1 succeeded, 0 failed, 1 rejected")


def test_an_empty_file_is_said_to_be_empty(browser: Any, submit: Callable[..., None], tmp_path: Path) -> None:
    file = tmp_path / "offices.csv"
    file.touch()
    submit(file)
    browser.says("Dry run", "empty")


@pytest.mark.parametrize(
    "name", ["<img src=x onerror=window.hacked=1>.csv", 'it\'s "two" $(words) `x`.csv', "größe ☃ 数.csv", "..csv"]
)
def test_a_name_is_shown_quoted_and_kept_as_it_is(
    browser: Any, submit: Callable[..., None], local: Any, tmp_path: Path, name: str
) -> None:
    file = tmp_path / name
    file.write_text(GOOD, encoding="utf-8")
    submit(file)
    browser.says("Dry run")
    browser.confirm("Submit anyway")
    browser.says("uploaded s3://", name)
    keys = [each["Key"] for each in local.client("s3").list_objects_v2(Bucket="inbox")["Contents"]]
    assert any(key.endswith(f"/{name}") for key in keys), keys
    assert browser.run("return window.hacked") is None
    assert browser.run("return document.querySelectorAll('img').length") == 0


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("../../a.csv", "a.csv"), ("..\\a.csv", "a.csv"), ("..", "file"), ("a/..", "file"), ("", "file"), ("a\0b", "ab")],
)
def test_no_name_leads_out_of_the_folder(sent: str, kept: str) -> None:
    assert name_of(sent) == kept


def test_a_large_file_does_not_pass_through_memory(browser: Any, inside: str, console: Any, tmp_path: Path) -> None:
    file = tmp_path / "offices.csv"
    with file.open("w", encoding="utf-8") as out:
        out.write("office_id,user_count,contract_count\n")
        for _ in range(200):
            out.write("A,2,5\n" * 175_000)
    browser.open(f"{inside}submit")
    browser.says("Drop a file here")
    process = psutil.Process(console.process.pid)
    before = process.memory_info().rss
    drop(browser, file)
    browser.says("1,000 rows", "Dry run")
    assert file.stat().st_size >= 200_000_000
    assert process.memory_info().rss - before < 60_000_000
