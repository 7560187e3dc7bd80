"""Checks of the alarms, their topic and its subscribers."""

from collections.abc import Iterator

from botocore.exceptions import ClientError

from tally.doctor.finding import Finding, failed, ok, skipped, warning
from tally.doctor.patient import Patient

_UNCONFIRMED = "PendingConfirmation"


def subscribers(patient: Patient) -> Iterator[Finding]:
    """Check that the alarms' topic has subscribers."""
    topic = patient.expected.alarm_topic_arn
    if topic is None:
        yield skipped("alarms.subscriber", f"tally-{patient.stage}", "the stage has no alarms (alarms = false)")
        return
    name = topic.rpartition(":")[2]
    try:
        pages = patient.clients["sns"].get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)
        found = [subscription for page in pages for subscription in page["Subscriptions"]]
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"NotFound", "NotFoundException"}:
            raise
        yield failed("alarms.topic", name, "there is no such topic: alarms reach nobody", patient.apply)
        return
    confirmed = [one for one in found if one["SubscriptionArn"] not in {_UNCONFIRMED, "Deleted"}]
    subscribe = f"aws sns subscribe --topic-arn {topic} --protocol email --notification-endpoint YOU"
    if confirmed:
        yield ok("alarms.subscriber", name, f"{len(confirmed)} subscribed")
    elif found:
        yield warning(
            "alarms.subscriber",
            name,
            f"{len(found)} subscribed, none confirmed: alarms reach nobody",
            "confirm the subscription that AWS has sent a message about",
        )
    else:
        yield warning("alarms.subscriber", name, "nobody is subscribed: alarms reach nobody", subscribe)


def alarms(patient: Patient) -> Iterator[Finding]:
    """Check that every alarm publishes to the topic, and list the alarms that ring now."""
    topic, prefix = patient.expected.alarm_topic_arn, f"tally-{patient.stage}"
    if topic is None:
        return
    pages = patient.clients["cloudwatch"].get_paginator("describe_alarms").paginate(AlarmNamePrefix=prefix)
    found = [alarm for page in pages for alarm in [*page.get("MetricAlarms", []), *page.get("CompositeAlarms", [])]]
    # A stage whose name begins with this one's has a topic of its own.
    own = [alarm for alarm in found if topic in alarm.get("AlarmActions", [])]
    if not own:
        yield failed("alarms.alarm", prefix, f"no alarm publishes to {topic.rpartition(':')[2]}", patient.apply)
        return
    muted = sorted(alarm["AlarmName"] for alarm in own if not alarm.get("ActionsEnabled", True))
    if muted:
        names = " ".join(muted)
        yield warning(
            "alarms.muted", prefix, f"{names} tell nobody", f"aws cloudwatch enable-alarm-actions --alarm-names {names}"
        )
    for alarm in own:
        if alarm.get("StateValue") == "ALARM":
            yield warning(
                "alarms.alarm", alarm["AlarmName"], "is in alarm", alarm.get("AlarmDescription") or "docs/runbook.md"
            )
    if not muted:
        yield ok("alarms.alarm", prefix, f"{len(own)} publish to {topic.rpartition(':')[2]}")
