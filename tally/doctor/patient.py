"""The input of every check: the stage, its expected state, and clients."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from chalicelib.clock import Clock, utc_now
from tally.deploy.survey import Place
from tally.doctor.finding import Finding
from tally.stages.expected import Expected

SERVICES = ("sts", "lambda", "s3", "events", "sqs", "dynamodb", "sns", "cloudwatch", "iam")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """A stage under examination; ``clients`` are made before, because a session is not safe in several threads."""

    stage: str
    local: bool
    expected: Expected
    clients: Mapping[str, Any]
    clock: Clock = utc_now
    packages: Callable[[], Collection[str]] = field(default=tuple)
    """Returns the digests of the packages that Chalice left on this machine, as Lambda writes them."""

    @property
    def place(self) -> Place:
        """The account and region of the stage, and the names of its functions."""
        return Place(stage=self.stage, account=self.expected.account_id, region=self.expected.region)

    @property
    def deploy(self) -> str:
        """The command that restores the settings of Terraform and Chalice."""
        return f"tally {'up' if self.local else 'deploy'} --stage {self.stage}"

    @property
    def apply(self) -> str:
        """How Terraform restores settings that something else has changed.

        `tally up` does nothing unless sources or variables have changed.
        """
        return f"tally down --stage {self.stage}, then {self.deploy}" if self.local else self.deploy

    def now(self) -> datetime:
        """Return the time."""
        return self.clock()

    def function(self, handler: str) -> str:
        """Return the name of a handler's function."""
        return self.place.prefix + handler


Check = Callable[[Patient], Iterable[Finding]]
