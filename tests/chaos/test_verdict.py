"""What counts as exact: the verdict must be able to fail."""

from typing import Any

import pytest

from tests.chaos.pipeline import Judged

_RIGHT: dict[str, Any] = {
    "id": "b", "status": "completed", "rows": 10, "markers": 10, "bits": 10, "chunk_counters": 10, "batch_counters": 10,
    "event_ids": ("b#1",), "events": 2, "attempts": 1, "exports": 1, "stuck": False, "as_expected": True,
    "differences": (),
}  # fmt: skip


def test_a_batch_that_adds_up_is_exact_however_often_its_event_came() -> None:
    """Events are at least once; their ids are what is told apart."""
    assert Judged(**_RIGHT).exact


@pytest.mark.parametrize(
    ("wrong", "lost", "overcounted"),
    [
        ({"markers": 9, "bits": 9, "chunk_counters": 9, "batch_counters": 9}, 1, 0),
        ({"chunk_counters": 9}, 1, 0),
        ({"batch_counters": 9}, 1, 0),
        ({"bits": 9}, 1, 0),
        ({"bits": 11}, 0, 1),
        ({"chunk_counters": 12}, 0, 2),
        ({"batch_counters": 13}, 0, 3),
        ({"markers": 11, "bits": 11, "chunk_counters": 11, "batch_counters": 11}, 0, 1),
        ({"stuck": True}, 0, 0),
        ({"event_ids": ()}, 0, 0),
        ({"event_ids": ("b#1", "b#2")}, 0, 0),
        ({"differences": ("chunk 0: not closed",)}, 0, 0),
    ],
)
def test_whatever_is_wrong_is_named(wrong: dict[str, Any], lost: int, overcounted: int) -> None:
    """Too few, too many, open, not announced or announced as two."""
    judged = Judged(**_RIGHT | wrong)
    assert not judged.exact
    assert (judged.lost, judged.overcounted) == (lost, overcounted)
