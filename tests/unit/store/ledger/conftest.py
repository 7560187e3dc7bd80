"""The table of these tests has one chunk whose rows were read."""

import pytest

from tally.testing.memory_dynamodb import MemoryDynamoDB
from tests.support.counting import ready_chunk


@pytest.fixture
def dynamodb() -> MemoryDynamoDB:
    """Give a table with one chunk whose rows were read."""
    return ready_chunk()
