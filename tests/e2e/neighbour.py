"""What another stage of the same account has: nothing that a function may touch."""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from zipfile import ZipFile

from tally.stages.stage import Stage

_KEY = {"pk": {"S": "batch#a"}, "sk": {"S": "batch"}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """Resources named as another stage's are; ``stage`` is one that shares its account."""

    stage: Stage
    prefix: str

    def make(self, *, role_arn: str) -> None:
        """Make them."""
        self.stage.dynamodb.create_table(
            TableName=self.prefix,
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
            BillingMode="PAY_PER_REQUEST",
        )
        self.stage.s3.create_bucket(Bucket=self._bucket)
        self.stage.s3.put_object(Bucket=self._bucket, Key="inbox/offices/a.csv", Body=b"a\n1\n")
        self.stage.client("sqs").create_queue(QueueName=f"{self.prefix}-work")
        self.stage.client("events").create_event_bus(Name=self.prefix)
        package = BytesIO()
        with ZipFile(package, "w") as file:
            file.writestr("app.py", "def plan(event, context):\n    return None\n")
        self.stage.functions.create_function(
            FunctionName=f"{self.prefix}-plan",
            Runtime="python3.12",
            Role=role_arn,
            Handler="app.plan",
            Code={"ZipFile": package.getvalue()},
        )

    def calls(self) -> list[tuple[str, Callable[[Any], object]]]:
        """Return what its own functions would do with them, by service."""
        table, key = {"TableName": self.prefix}, "inbox/offices/a.csv"
        queue = self.stage.client("sqs").get_queue_url(QueueName=f"{self.prefix}-work")["QueueUrl"]
        entry = {"Source": "tally", "DetailType": "Batch Completed", "Detail": "{}", "EventBusName": self.prefix}
        put = {"Put": {**table, "Item": _KEY}}
        return [
            ("dynamodb", lambda client: client.get_item(**table, Key=_KEY)),
            ("dynamodb", lambda client: client.put_item(**table, Item=_KEY)),
            ("dynamodb", lambda client: client.transact_write_items(TransactItems=[put])),
            ("s3", lambda client: client.get_object(Bucket=self._bucket, Key=key)),
            ("s3", lambda client: client.put_object(Bucket=self._bucket, Key="unpacked/a.csv", Body=b"")),
            ("sqs", lambda client: client.send_message(QueueUrl=queue, MessageBody="a")),
            ("sqs", lambda client: client.receive_message(QueueUrl=queue)),
            ("events", lambda client: client.put_events(Entries=[entry])),
            ("lambda", lambda client: client.invoke(FunctionName=f"{self.prefix}-plan", InvocationType="DryRun")),
        ]

    def deployment(self) -> list[tuple[str, Callable[[Any], object]]]:
        """Return what its own deployment would do with them, by service."""
        name, role = f"{self.prefix}-plan", {"RoleName": f"{self.prefix}-plan"}
        public = {"Bucket": self._bucket, "PublicAccessBlockConfiguration": {"BlockPublicAcls": False}}
        return [
            ("dynamodb", lambda client: client.update_table(TableName=self.prefix, DeletionProtectionEnabled=False)),
            ("s3", lambda client: client.put_public_access_block(**public)),
            ("sqs", lambda client: client.create_queue(QueueName=f"{self.prefix}-heavy")),
            ("events", lambda client: client.remove_targets(Rule="a", EventBusName=self.prefix, Ids=["a"])),
            ("lambda", lambda client: client.update_function_configuration(FunctionName=name, Timeout=1)),
            ("iam", lambda client: client.create_role(**role, AssumeRolePolicyDocument="{}")),
        ]

    @property
    def _bucket(self) -> str:
        return f"{self.prefix}-inbox-000000000000"
