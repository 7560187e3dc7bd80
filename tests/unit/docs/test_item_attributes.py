"""Every attribute that is written has a line in docs/architecture.md (conftest.py), and none there is gone."""

import re

import pytest

from tests.support import attributes
from tests.support.inventory import MADE_UP, REPO, sources

PAGE = (REPO / "docs" / "architecture.md").read_text(encoding="utf-8")
CODE = "".join(sources("app/chalicelib/store", "app/chalicelib/steps").values())
NAMES = sorted(set().union(*(names for sk, names in attributes.of_page(PAGE).items() if sk)))


@pytest.mark.parametrize(
    ("sk", "item"),
    [
        ("batch", {"pk", "sk", "status", MADE_UP}),
        ("chunk", {"done", MADE_UP}),
        ("mark#000002", {"data", MADE_UP}),
        ("mark#000002#001", {"data", MADE_UP}),
        ("watch", {"snapshot", MADE_UP}),
        ("transactions", {"key", "job", MADE_UP}),
    ],
)
def test_an_attribute_without_a_line_is_found(sk: str, item: set[str]) -> None:
    """Of each kind of item; one of the results table is generic."""
    assert list(attributes.undescribed(sk, item, attributes.described())) == [f"{sk}: {MADE_UP}"]


@pytest.mark.parametrize("name", sorted(attributes.described()["batch"] - attributes.EVERYWHERE))
def test_an_attribute_whose_line_goes_is_found(name: str) -> None:
    page = attributes.of_page(re.sub(rf"`{name}`", "`zzz`", PAGE))
    assert list(attributes.undescribed("batch", {"pk", name}, page)) == [f"batch: {name}"]


@pytest.mark.parametrize("name", NAMES)
def test_an_attribute_that_is_described_is_written_somewhere(name: str) -> None:
    assert re.search(rf"\b{name}\b", CODE)
