"""A stage that may run more functions at once than its account allows is told so, with what to set."""

import json
import re
from typing import Any

import pytest

from tally.deploy import quotas
from tally.deploy.quotas import Concurrency
from tally.testing.memory_dynamodb import client_error

DEFAULTS: dict[str, int | None] = {
    "ingest": 20,
    "process": 50,
    "process_heavy": 20,
    "finish": 20,
    "export": 4,
    "dead_letters": 2,
    "dispatch": None,
}
WANTED = 20 + 50 + 20 + 20 + 4 + 5 * 2 + 5


class _Lambda:
    """An account with so much concurrency that no function has reserved."""

    def __init__(self, quota: int) -> None:
        self.quota = quota

    def get_account_settings(self) -> dict[str, Any]:
        return {"AccountLimit": {"ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": self.quota}}


def _environment(maxima: dict[str, int | None]) -> dict[str, str]:
    functions = {name: {"batch_size": 1, "maximum_concurrency": most} for name, most in maxima.items()}
    return {"TALLY_FUNCTIONS": json.dumps(functions)}


def _finding(quota: int, maxima: dict[str, int | None] = DEFAULTS) -> str:
    client: Any = _Lambda(quota)
    return quotas.finding(client, _environment(maxima))


def test_an_account_with_room_is_not_talked_about() -> None:
    """As much as is wanted is enough; one less is not."""
    assert _finding(1000) == _finding(WANTED) == ""
    assert f"may run {WANTED} functions at once" in _finding(WANTED - 1)


@pytest.mark.parametrize("quota", range(25, WANTED))
def test_what_it_says_to_set_fits(quota: int) -> None:
    """For any quota; once the advice is followed, the next deployment is silent."""
    set_to = {name: int(most) for name, most in re.findall(r"(\w+) = { maximum_concurrency = (\d+) }", _finding(quota))}
    assert set(set_to) == {"ingest", "process", "process_heavy", "finish", "export"}
    assert min(set_to.values()) >= 2
    assert all(set_to[name] <= (DEFAULTS[name] or 0) for name in set_to)
    assert _finding(quota, {**DEFAULTS, **set_to}) == ""


def test_a_new_account_is_told_to_ask_for_more() -> None:
    """Its quota may be 10: no setting makes the stage fit."""
    said = _finding(10)
    assert "Service Quotas" in said
    assert "function_overrides" not in said


def test_what_others_have_reserved_does_not_count_as_room() -> None:
    """The account's whole quota is 1,000 here."""
    client: Any = _Lambda(100)
    assert Concurrency.of(client, _environment(DEFAULTS)).quota == 100


def test_an_account_that_does_not_say_its_quota_is_no_reason_to_stop() -> None:
    """The role may lack the right; the finding names it."""

    class Refusing:
        def get_account_settings(self) -> dict[str, Any]:
            raise client_error("AccessDeniedException")

    client: Any = Refusing()
    said = quotas.finding(client, _environment(DEFAULTS))
    assert "AccessDeniedException" in said
    assert "lambda:GetAccountSettings" in said
