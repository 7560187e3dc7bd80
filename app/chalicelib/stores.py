"""The table of a stage and what is kept in it, as one invocation uses them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from chalicelib.pacers import rows_pacer
from chalicelib.retry import Retry
from chalicelib.settings import Settings
from chalicelib.store.leases import Leases
from chalicelib.store.starts import Starts
from chalicelib.store.table import Table
from chalicelib.store.uploads import UploadNotes


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """The stores that several steps share."""

    settings: Settings
    retry: Retry
    client: Callable[[str], Any]

    @property
    def table(self) -> Table:
        """The table, for writes that are few: they fit into what the rows' share leaves."""
        return Table(dynamodb=self.client("dynamodb"), name=self.settings.table, retry=self.retry)

    @property
    def paced_table(self) -> Table:
        """The table, for writes that each row needs."""
        if not self.settings.write_share:
            return self.table
        return replace(self.table, pacer=rows_pacer(self.settings, self.client("dynamodb")))

    @property
    def leases(self) -> Leases:
        """The leases of this invocation on heavy rows."""
        return Leases(table=self.table, owner=uuid4().hex)

    @property
    def starts(self) -> Starts:
        """The marks that this invocation leaves on messages whose work it begins."""
        return Starts(table=self.table, run=uuid4().hex)

    @property
    def upload_notes(self) -> UploadNotes:
        """The notes on uploads whose plan failed, or whose event was lost."""
        return UploadNotes(table=self.table)
