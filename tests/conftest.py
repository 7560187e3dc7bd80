"""Settings that the app reads at import; no test talks to AWS by accident."""

import contextlib
import os
import signal

import pytest

from tally.testing import environment

os.environ.update(environment.VARIABLES)
for _name in ("COLUMNS", "LINES"):
    # GNU readline, which pytest imports, sets them for every process that a test or a worker of xdist starts: what is
    # written to a pipe would be folded at 80 columns. It does so behind the back of os.environ, so both are told.
    os.environ.pop(_name, None)
    os.unsetenv(_name)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what runs in its background (`make test &`) with interrupts ignored, and so would be every process
    # that a test starts and interrupts. What has a handler here has its usual effect there.
    signal.signal(signal.SIGINT, signal.default_int_handler)

_FIRST = (
    "test_deployments",
    "test_iam",
    "test_chaos",
    "test_poison",
    "test_doctor",
    "test_prove",
    "test_tutorial",
    "test_pipeline",
    "test_recovery",
)
"""The modules of tests on stages that take longest, in their order: what begins last must not be what ends last."""
_LAST = "test_console"
"""It writes thousands of items, after which the local stream of a busy machine is minutes behind."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the modules that take longest, and end with the one that keeps the stream of its stage busy."""
    order = {name: place for place, name in enumerate(_FIRST)} | {_LAST: len(_FIRST) + 1}
    items.sort(key=lambda item: order.get(item.path.stem, len(_FIRST)))


def pytest_configure(config: pytest.Config) -> None:
    """Keep hypothesis steady: a slow machine is no failure, and a failure is to be seen again."""
    from hypothesis import HealthCheck, settings  # noqa: PLC0415

    if "TALLY_MUTANT" in os.environ:  # `make model` asks whether a test notices that something is gone
        from tests.model.mutants import MUTANTS  # noqa: PLC0415

        mutants = {mutant.name: mutant for mutant in MUTANTS}
        stack = contextlib.ExitStack()
        stack.enter_context(mutants[os.environ["TALLY_MUTANT"]].applied())
        config.add_cleanup(stack.close)

    settings.register_profile(
        "tally",
        deadline=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
    settings.load_profile("tally")
