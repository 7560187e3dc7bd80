"""Loaded by Python itself into the plan function of one test: two of its handovers kill it.

The first before it is asked for, the second after. The file that ``E2E_HANDOVERS`` names gets a byte for each, so that
every worker knows which one it is at.
"""

import os
from pathlib import Path

from botocore import client

_counted = Path(os.environ["E2E_HANDOVERS"])
_call = client.BaseClient._make_api_call  # type: ignore[attr-defined]


def _mortal(self, operation, parameters):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202  the SDK's own signature
    if operation != "Invoke":
        return _call(self, operation, parameters)
    with _counted.open("ab") as file:
        file.write(b".")
    position = _counted.stat().st_size
    if position == 1:
        os._exit(1)
    answer = _call(self, operation, parameters)
    if position == 2:
        os._exit(1)
    return answer


client.BaseClient._make_api_call = _mortal  # type: ignore[attr-defined]
