"""What every check is given: the stage, what it should be like, clients to ask with."""

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
    """A stage under examination; ``clients`` are made before, for a session must not make them in several threads."""

    stage: str
    local: bool
    expected: Expected
    clients: Mapping[str, Any]
    clock: Clock = utc_now
    packages: Callable[[], Collection[str]] = field(default=tuple)
    """Returns the digests of the packages that Chalice left on this machine, as Lambda writes them."""

    @property
    def place(self) -> Place:
        """Where the stage is, and what its functions are called."""
        return Place(stage=self.stage, account=self.expected.account_id, region=self.expected.region)

    @property
    def deploy(self) -> str:
        """The command that sets right what Terraform and Chalice set."""
        return f"tally {'up' if self.local else 'deploy'} --stage {self.stage}"

    @property
    def apply(self) -> str:
        """How to have Terraform set right what it owns and something else has changed.

        `tally up` does nothing while neither sources nor variables have changed.
        """
        return f"tally down --stage {self.stage}, then {self.deploy}" if self.local else self.deploy

    def now(self) -> datetime:
        """Return the time."""
        return self.clock()

    def function(self, handler: str) -> str:
        """Return what the function of a handler is called."""
        return self.place.prefix + handler


Check = Callable[[Patient], Iterable[Finding]]
