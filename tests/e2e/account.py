"""An AWS account on this machine that refuses what no policy allows, and a pipeline that deploys into it."""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore import UNSIGNED
from botocore.config import Config

from tally.local import localaws
from tally.local.localaws import Server
from tally.stages.stage import Resources, Stage
from tally.stages.workspace import StageFolder
from tests.e2e.conftest import Tally
from tests.e2e.roles import LOCAL_ONLY

REPOSITORY = "your-org/your-repo"
_ISSUER = "token.actions.githubusercontent.com"
_STATE_BUCKET = "state-of-tally"
# Of examples/backend.example.tf with what an endpoint of one's own needs.
_BACKEND = f"""
terraform {{
  backend "s3" {{
    bucket               = "{_STATE_BUCKET}"
    key                  = "tally.tfstate"
    region               = "{localaws.REGION}"
    workspace_key_prefix = "tally"
    use_lockfile         = true
    use_path_style       = true
  }}
}}
"""

FRAGILE = "fragile"
"""A job beside the shipped ones: every row raises, so that it waits for its next try."""
_FRAGILE = """
from chalicelib import rows

ATTEMPTS = 2

class Row(rows.Row):
    name: str

def heavy(row: Row) -> bool:
    return row.name == "heavy"

def process(row: Row) -> None:
    raise OSError("nobody there")
"""
_KEYED = '\nKEY = "document_id"\n'
"""The results of documents are saved by key, so that save has something to do."""

ASKED_OF_ANYTHING = (
    "cloudwatch:DescribeAlarms",
    "cloudwatch:GetDashboard",
    "cloudwatch:ListTagsForResource",
    "cloudwatch:PutDashboard",
    "cloudwatch:PutMetricAlarm",
    "dynamodb:ListTagsOfResource",
    "events:CreateEventBus",
    "events:DescribeEventBus",
    "events:ListTagsForResource",
    "events:ListTargetsByRule",
    "events:PutRule",
    "events:PutTargets",
    "kms:CreateAlias",
    "lambda:CreateEventSourceMapping",
    "lambda:CreateFunction",
    "lambda:GetEventSourceMapping",
    "lambda:UpdateEventSourceMapping",
    "sns:ListTagsForResource",
)
"""The local AWS asks these of ``*``. AWS asks them of the resource: the role may do them to what is its own."""
_UNKNOWN_CONDITIONS = {
    "aws:RequestTag/Project",
    "aws:RequestTag/Stage",
    "iam:PermissionsBoundary",
    "lambda:FunctionArn",
    "lambda:Principal",
}
"""AWS knows these for the actions that have them in the role's policies; the local AWS does not, and refuses."""


def _conditions(statement: Mapping[str, Any]) -> set[str]:
    return {key for tests in statement.get("Condition", {}).values() for key in tests}


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The account; ``checkout`` is the pipeline's copy of the sources."""

    server: Server
    folder: StageFolder
    checkout: Path

    @classmethod
    def open(cls, root: Path, repo: Path) -> "Account":
        """Start the account, and check the sources out."""
        folder = StageFolder(name="account", root=root / "account")
        folder.root.mkdir()
        for name in ("infra", "app", "tally"):
            ignored = shutil.ignore_patterns(".terraform*", "terraform.tfstate*", ".chalice", "__pycache__")
            shutil.copytree(repo / name, root / "checkout" / name, ignore=ignored)
        (root / "checkout" / "infra" / "backend.tf").write_text(_BACKEND)
        jobs = root / "checkout" / "app" / "chalicelib" / "jobs"
        (jobs / f"{FRAGILE}.py").write_text(_FRAGILE)
        with (jobs / "documents.py").open("a") as file:
            file.write(_KEYED)
        return cls(server=localaws.start(folder, port=None, iam=True), folder=folder, checkout=root / "checkout")

    def close(self) -> None:
        """Stop the account."""
        localaws.stop(self.folder)

    def client(self, service: str, credentials: Mapping[str, str] | None = None, config: Config | None = None) -> Any:
        """Return a client of the account's owner, or of the owner of the credentials."""
        own = {"AWS_ACCESS_KEY_ID": localaws.CREDENTIAL, "AWS_SECRET_ACCESS_KEY": localaws.CREDENTIAL}
        return boto3.client(
            service,  # type: ignore[call-overload]
            endpoint_url=self.server.endpoint,
            verify=self.server.certificate,
            region_name=localaws.REGION,
            config=config,
            **{name.lower(): value for name, value in (credentials or own).items()},
        )

    def tally(self, stage: str, credentials: Mapping[str, str] | None = None) -> "Pipeline":
        """Return the command line for a stage, of the account's owner or of the owner of the credentials."""
        home = self.checkout.parent / "home"
        return Pipeline(home=home, repo=self.checkout, name=stage, server=self.server, credentials=credentials or {})

    def make_role(self, stage: str) -> str:
        """Have the owner make the role that deploys a stage, and what it leans on; returns its ARN."""
        self.client("iam").create_open_id_connect_provider(Url=f"https://{_ISSUER}", ClientIDList=["sts.amazonaws.com"])
        self.client("s3").create_bucket(Bucket=_STATE_BUCKET)
        variables = {"stage": stage, "repository": REPOSITORY, "state_bucket": _STATE_BUCKET}
        self._terraform("init")
        self._terraform("apply", "-auto-approve", *[f"-var={name}={value}" for name, value in variables.items()])
        arn = self._terraform("output", "-raw", "role_arn")
        lent = [
            {"Effect": "Allow", "Action": list(ASKED_OF_ANYTHING), "Resource": "*"},
            *[
                {name: value for name, value in statement.items() if name != "Condition"}
                for statement in self._statements(arn)
                if _conditions(statement) & _UNKNOWN_CONDITIONS
            ],
        ]
        self.client("iam").put_role_policy(
            RoleName=arn.rpartition("/")[2],
            PolicyName="local",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": lent}),
        )
        self._widen_boundary()
        return arn

    def _widen_boundary(self) -> None:
        """Let the functions' boundary take what the local AWS alone asks of them: a boundary limits that too."""
        iam, arn = self.client("iam"), self.boundary()[1].partition("=")[2]
        standing = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        document = iam.get_policy_version(PolicyArn=arn, VersionId=standing)["PolicyVersion"]["Document"]
        document["Statement"].append({"Effect": "Allow", "Action": [LOCAL_ONLY], "Resource": ["*"]})
        iam.create_policy_version(PolicyArn=arn, PolicyDocument=json.dumps(document), SetAsDefault=True)

    def boundary(self) -> tuple[str, str]:
        """Return the variable that has the stage's roles carry the boundary which was made with the role."""
        return "--var", f"permissions_boundary_arn={self._terraform('output', '-raw', 'permissions_boundary_arn')}"

    def allowed(self, role_arn: str) -> set[str]:
        """Return the actions that a role's policies name, without what the local AWS alone was told."""
        return {action for statement in self._statements(role_arn) for action in statement["Action"]}

    def _statements(self, role_arn: str) -> list[Any]:
        iam = self.client("iam")
        attached = iam.list_attached_role_policies(RoleName=role_arn.rpartition("/")[2])["AttachedPolicies"]
        policies = [iam.get_policy(PolicyArn=policy["PolicyArn"])["Policy"] for policy in attached]
        documents = [
            iam.get_policy_version(PolicyArn=policy["Arn"], VersionId=policy["DefaultVersionId"])["PolicyVersion"]
            for policy in policies
        ]
        return [statement for found in documents for statement in found["Document"]["Statement"]]

    def assume(self, role_arn: str, subject: str) -> dict[str, str]:
        """Take a role as a workflow does whose identity token has this subject; returns it as an environment."""
        leases = {"iss": f"https://{_ISSUER}", "aud": "sts.amazonaws.com", "sub": subject}
        parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({}, leases)]
        taken = self.client("sts", config=Config(signature_version=UNSIGNED)).assume_role_with_web_identity(
            RoleArn=role_arn, RoleSessionName="workflow", WebIdentityToken=".".join([*parts, ""])
        )["Credentials"]
        return {
            "AWS_ACCESS_KEY_ID": taken["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": taken["SecretAccessKey"],
            "AWS_SESSION_TOKEN": taken["SessionToken"],
        }

    def _terraform(self, command: str, *options: str) -> str:
        done = subprocess.run(
            ["terraform", command, "-no-color", *options],
            env=localaws.environment(self.server, os.environ),
            cwd=self.checkout / "infra" / "examples" / "deploy_role",
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline(Tally):
    """The command line and the resources of a stage that is deployed as one in AWS is."""

    server: Server
    credentials: Mapping[str, str]

    @property
    def environ(self) -> dict[str, str]:
        """The environment of a run: the account, and who asks."""
        own = {"TALLY_HOME": str(self.home), **self.credentials}
        return localaws.environment(self.server, os.environ) | own

    @property
    def stage(self) -> Stage:
        """The stage's resources, and clients of the account's owner."""
        resources = Resources.read(self.workspace.aws_outputs(self.name))
        assert resources is not None
        return Stage(name=self.name, resources=resources, server=self.server)
