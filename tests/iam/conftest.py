"""The policies of a folder, rendered once for all tests: that takes Terraform seconds."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.support.policies import Statement, rendered

PoliciesOf = Callable[[Path], list[Statement]]


@pytest.fixture(scope="session")
def policies_of(tmp_path_factory: pytest.TempPathFactory) -> PoliciesOf:
    """Return what renders every policy of a folder, with all that the folder can have."""

    @cache
    def policies(folder: Path) -> list[Statement]:
        return rendered(folder, "tests/policies.tftest.hcl", tmp_path_factory.mktemp("terraform"))

    return policies
