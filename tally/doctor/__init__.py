"""Examine a stage without changing it: configuration, rights and waiting messages. ``examine`` does all of it."""

from tally.doctor.examination import GROUPS, Group, examine
from tally.doctor.finding import Finding, State, worst

__all__ = ["GROUPS", "Finding", "Group", "State", "examine", "worst"]
