"""The roles of a stage's functions on a local AWS that enforces them: what they grant, and what it is like without."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tally.stages.stage import Stage
from tally.testing.configuration import functions

FUNCTIONS = functions()

ACCOUNT = "000000000000"
"""The local AWS's own."""
LOCAL_ONLY = "sqs:SendMessageBatch"
"""The local AWS asks for it. AWS does not have it: there SendMessageBatch needs SendMessage."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Right:
    """One action on one resource that a statement of a function's role allows."""

    function: str
    sid: str
    action: str
    resource: str

    @property
    def path(self) -> str:
        """Return the right without its resource, to be matched by a pattern."""
        return f"{self.function}/{self.sid}/{self.action}"


@dataclass(frozen=True, kw_only=True)
class Roles:
    """The roles of one stage; ``policies`` are as Terraform rendered them, by function."""

    stage: Stage
    policies: Mapping[str, Any]

    @classmethod
    def of(cls, stage: Stage) -> "Roles":
        """Read the roles of a stage that was just deployed, and grant what the local AWS alone asks for."""
        iam = stage.client("iam")
        found = {}
        for function in FUNCTIONS:
            role = f"tally-{stage.name}-{function}"
            found[function] = _document(iam.get_role_policy(RoleName=role, PolicyName=role)["PolicyDocument"])
        roles = cls(stage=stage, policies=found)
        for function in FUNCTIONS:
            roles._put(function, roles._enforced(function))
        return roles

    def name(self, function: str) -> str:
        """Return what a function and its role are called."""
        return f"tally-{self.stage.name}-{function}"

    def granted(self) -> list[Right]:
        """Return every right of every role."""
        return sorted(
            Right(function=function, sid=statement["Sid"], action=action, resource=resource)
            for function, policy in self.policies.items()
            for statement in policy["Statement"]
            for action in statement["Action"]
            for resource in statement["Resource"]
        )

    @contextmanager
    def without(self, function: str, action: str) -> Iterator[Callable[[], bool]]:
        """Take one action from a function for the block.

        Yields what tells whether the function has been refused just that since: AWS names both in its answer, and the
        function's log repeats it.
        """
        whole = self._enforced(function)
        statements = [{**s, "Action": [a for a in s["Action"] if a != action]} for s in whole["Statement"]]
        assert statements != whole["Statement"], f"{function} never had {action}"
        began = int(time.time() * 1000)
        who = f":assumed-role/{self.name(function)}/{self.name(function)}"
        words = f"User: arn:aws:sts::{ACCOUNT}{who} is not authorized to perform: {action} "
        self._put(function, {**whole, "Statement": [s for s in statements if s["Action"]]})
        try:
            yield lambda: any(words in line for line in self._log(function, began))
        finally:
            self._put(function, whole)

    def key(self, function: str) -> str:
        """Return the access key that a function calls with."""
        return f"ASIA{self._digest(function)[:16].upper()}"

    def credentials(self, function: str) -> dict[str, str]:
        """Return the credentials that the local AWS gives a function, as its environment has them."""
        digest = self._digest(function)
        return {
            "AWS_ACCESS_KEY_ID": self.key(function),
            "AWS_SECRET_ACCESS_KEY": hashlib.sha256(f"secret:{digest}".encode()).hexdigest(),
            "AWS_SESSION_TOKEN": hashlib.sha256(f"token:{digest}".encode()).hexdigest(),
        }

    def _digest(self, function: str) -> str:
        configuration = self.stage.functions.get_function_configuration(FunctionName=self.name(function))
        return hashlib.sha256(f"{configuration['FunctionArn']}:{configuration['Role']}".encode()).hexdigest()

    def _enforced(self, function: str) -> Any:
        policy = self.policies[function]
        statements = [
            {**s, "Action": [*s["Action"], *([LOCAL_ONLY] if "sqs:SendMessage" in s["Action"] else [])]}
            for s in policy["Statement"]
        ]
        return {**policy, "Statement": statements}

    def _put(self, function: str, policy: Any) -> None:
        role = self.name(function)
        self.stage.client("iam").put_role_policy(RoleName=role, PolicyName=role, PolicyDocument=json.dumps(policy))

    def _log(self, function: str, began: int) -> Iterator[str]:
        pages = self.stage.logs.get_paginator("filter_log_events").paginate(
            logGroupName=f"/aws/lambda/{self.name(function)}", startTime=began
        )
        return (event["message"] for page in pages for event in page["events"])


def _document(policy: Any) -> Any:
    return json.loads(policy) if isinstance(policy, str) else policy
