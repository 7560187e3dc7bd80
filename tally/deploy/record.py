"""Chalice's record of its deployment, compared with what exists in AWS and repaired.

Chalice writes it at the very end. So a deployment that was killed leaves functions and triggers that no record names:
Chalice would make them a second time, and would never delete them. Terraform reads the record too: its next plan
destroys an adopted mapping that the record lacks.
"""

import contextlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tally.deploy.survey import Entry, Live, Place, Sources, Survey, Trigger
from tally.errors import OperatorError
from tally.stages.stage import Stage

_SCHEMA = {"schema_version": "2.0", "backend": "api"}


def reconcile(recorded: Iterable[Entry], live: Live, sources: Sources) -> list[Entry]:
    """Return the record that agrees with AWS: without resources that are gone, with those that no record had.

    Functions come first: Chalice deletes from the end, and triggers have to go before their functions. Raises
    OperatorError if a function has two mappings and the record names neither, because Chalice knows only one.
    """
    known = {entry["name"]: entry for entry in map(live.confirm, recorded) if entry}
    missing: dict[str, list[Entry]] = {}
    for entry in live.entries(sources):
        if entry["name"] not in known:
            missing.setdefault(entry["name"], []).append(entry)
    for name, candidates in missing.items():
        chosen = [entry for entry in candidates if _source(entry) in sources.arns] or candidates
        if len(chosen) > 1:
            described = " and ".join(f"{entry['event_uuid']} of {_source(entry)}" for entry in chosen)
            raise OperatorError(
                f"{chosen[0]['lambda_arn']} has more than one mapping that could be Chalice's: {described}. "
                "Delete what should not be (aws lambda delete-event-source-mapping --uuid UUID), then run this again."
            )
        known[name] = chosen[0]
    return sorted(known.values(), key=lambda entry: entry["resource_type"] != "lambda_function")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployedRecord:
    """The record of one stage. Every method may raise AWS's errors."""

    path: Path
    survey: Survey
    say: Callable[[str], None]

    @classmethod
    def of(cls, stage: Stage, path: Path, *, say: Callable[[str], None]) -> Self:
        """Return the record at ``path`` of the stage that these clients reach."""
        account = str(stage.client("sts").get_caller_identity()["Account"])
        place = Place(stage=stage.name, account=account, region=str(stage.session.region_name))
        return cls(path=path, survey=Survey(place=place, client=stage.client), say=say)

    def entries(self) -> list[Entry]:
        """Return the entries; none if the file is missing or torn. Raises if it is another stage's record."""
        try:
            entries = list(json.loads(self.path.read_text(encoding="utf-8"))["resources"])
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError):
            self.say(f"{self.path} cannot be read: rebuilding it from what exists in AWS.")
            return []
        place = self.survey.place
        for entry in entries:
            arn = entry.get("lambda_arn", "")
            wrong = arn and (place.elsewhere(arn) or ("" if place.handler_of(arn) else "another stage"))
            if wrong:
                raise OperatorError(
                    f"{self.path} is not the record of stage {place.stage} in account {place.account}, region "
                    f"{place.region}: {arn} belongs to {wrong}. Put the right file back, or move this one away: "
                    "it is then rebuilt from what exists in AWS."
                )
        return entries

    def require_here(self, arns: Iterable[str]) -> None:
        """Raise OperatorError if a resource of the stage is in another account or region."""
        place = self.survey.place
        for arn in arns:
            if elsewhere := place.elsewhere(arn):
                raise OperatorError(
                    f"Stage {place.stage} is in {elsewhere} by Terraform's state ({arn}), and your credentials lead to "
                    f"account {place.account}, region {place.region}: use those that deployed it."
                )

    def repair(self, sources: Sources) -> bool:
        """Make the record match AWS, report each change, and tell whether there was one. AWS is only read.

        Raises OperatorError if the record or the sources are of another account or region, where resources would only
        seem to be gone.
        """
        self.require_here(sources.arns)
        recorded = self.entries()
        buckets = {sources.bucket, *(entry.get("bucket", "") for entry in recorded)} - {""}
        repaired = reconcile(recorded, self.survey.live(buckets), sources)
        before, after = ({entry["name"]: entry for entry in entries} for entries in (recorded, repaired))
        for name, entry in before.items():
            if name not in after:
                self.say(f"Chalice's record: removed {name} ({_identity(entry)}), which is gone.")
        for name, entry in after.items():
            if entry != before.get(name):
                self.say(f"Chalice's record: {'corrected' if name in before else 'added'} {name} ({_identity(entry)}).")
        if before != after or (self.path.exists() and not recorded):
            self._write(repaired)
        return before != after

    def retire(self, sources: Sources) -> None:
        """Delete mappings whose source the stage no longer has, such as those of a replaced table.

        Mappings of queues are left to Chalice, unless it was killed between making the new one and deleting the old.
        """
        recorded = {entry.get("event_uuid") for entry in self.entries()}
        triggers = self.survey.triggers()
        served = {trigger.handler for trigger in triggers if trigger.source in sources.arns}
        for trigger in triggers:
            chalice_keeps_it = trigger.reads_stream or (trigger.uuid in recorded and trigger.handler in served)
            if trigger.source not in sources.arns and chalice_keeps_it:
                self.say(
                    f"{trigger.handler}: deleting its mapping {trigger.uuid}, which reads the old {trigger.source}."
                )
                self._delete(trigger)

    def delete_triggers(self) -> int:
        """Delete every remaining mapping of the stage, Terraform's own too, and return their number."""
        triggers = self.survey.triggers()
        for trigger in triggers:
            self._delete(trigger)
        self.survey.triggers()  # waits until they are gone
        return len(triggers)

    def _delete(self, trigger: Trigger) -> None:
        functions: Any = self.survey.client("lambda")
        with contextlib.suppress(functions.exceptions.ResourceNotFoundException):
            functions.delete_event_source_mapping(UUID=trigger.uuid)

    def _write(self, entries: list[Entry]) -> None:
        """Replace the file at once, so that a kill leaves the old one or the new one."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps({"resources": entries, **_SCHEMA}, indent=2), encoding="utf-8")
        new.replace(self.path)


def _source(entry: Entry) -> str:
    return str(entry.get("queue_arn") or entry.get("stream_arn") or "")


def _identity(entry: Entry) -> str:
    return str(next((entry[key] for key in ("event_uuid", "bucket", "rule_name", "lambda_arn") if key in entry), "-"))
