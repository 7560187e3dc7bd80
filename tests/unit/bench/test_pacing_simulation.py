"""The seed's case in simulated time: what docs/capacity.md leases, with fixed seeds."""

import pytest

from bench.pacing import CAPACITY_UNITS, REPORT, REPORTS, backoff, limit, no_retry, paced, run, sdk_retry
from chalicelib.store.pacing import item_size, write_units

SEEDS = (1, 2, 3)


def test_a_report_is_one_unit_of_about_500_bytes() -> None:
    """So that the limit is 200 seconds at five units."""
    assert 450 <= item_size(REPORT) <= 550
    assert write_units(item_size(REPORT)) == 1
    assert limit(1.0) == REPORTS / CAPACITY_UNITS == 200


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("share", [1.0, 0.8, 0.5])
def test_paced_writers_save_all_with_no_throttling_close_to_the_limit(share: float, seed: int) -> None:
    """No request is refused, so that no retry is spent, and the time is that of the capacity."""
    result = run(paced, share=share, seed=seed)
    assert (result.saved, result.surfaced, result.throttled) == (REPORTS, 0, 0)
    assert limit(share) <= result.seconds < 1.02 * limit(share)


@pytest.mark.parametrize("seed", SEEDS)
def test_without_a_retry_nearly_all_is_lost(seed: int) -> None:
    """Ten writers are through within a second."""
    assert run(no_retry, seed=seed).saved < 0.02 * REPORTS


@pytest.mark.parametrize("seed", SEEDS)
def test_the_sdk_spends_its_quota_and_loses_reports(seed: int) -> None:
    """Once a client has none left, each refusal is an error."""
    result = run(sdk_retry, seed=seed)
    assert result.quota == 0
    assert result.surfaced > 0.3 * REPORTS


@pytest.mark.parametrize("seed", SEEDS)
def test_backoff_alone_still_loses_reports(seed: int) -> None:
    """Eight attempts are not enough where twice as much is asked as there is; and most requests are refused."""
    result = run(backoff, seed=seed)
    assert result.surfaced > 0.05 * REPORTS
    assert result.throttled > 2 * REPORTS
