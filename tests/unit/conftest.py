"""Two rules for every unit test: AWS would refuse no request, and each attribute that is written is described."""

from collections.abc import Iterator
from typing import Any

import pytest

from tally.testing import memory_dynamodb, strict
from tally.testing.memory_dynamodb import MemoryDynamoDB
from tests.support import attributes


@pytest.fixture(autouse=True)
def nothing_is_refused() -> Iterator[None]:
    """Fail a test whose requests break a limit, even where a handler took the refusal for a failure like any other."""
    strict.refused.clear()
    yield
    assert strict.refused == []


@pytest.fixture(autouse=True)
def every_attribute_is_described(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test in which an item of the table gets an attribute that docs/architecture.md does not describe."""
    found: set[str] = set()
    apply = MemoryDynamoDB._apply

    def applied(self: MemoryDynamoDB, action: dict[str, Any]) -> None:
        apply(self, action)
        key = memory_dynamodb._target(action)
        item = self.items.get(key) or self.results.get(key) or {}
        found.update(attributes.undescribed(key[1], item, attributes.described()))

    monkeypatch.setattr(MemoryDynamoDB, "_apply", applied)
    yield
    assert sorted(found) == [], "give each a line in docs/architecture.md"
