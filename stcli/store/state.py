"""All of the state behind one name: what wiring opens and use cases are handed."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stcli.store.accepted import AcceptedFiles
    from stcli.store.canaries import Canaries
    from stcli.store.connections import Connections
    from stcli.store.customers import Customers
    from stcli.store.engine import Database
    from stcli.store.enrolments import Enrolments
    from stcli.store.failures import Failures
    from stcli.store.feeds import Feeds
    from stcli.store.ledger import Ledger
    from stcli.store.people import People
    from stcli.store.qualifications import Qualifications
    from stcli.store.runs import Runs
    from stcli.store.turns import Turns


class State:
    """The parts of the database, each with its own rules, over one pool of connections. A part is
    loaded when it is first asked: most commands look at two or three."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @cached_property
    def connections(self) -> Connections:
        from stcli.store.connections import Connections

        return Connections(self.database)

    @cached_property
    def people(self) -> People:
        from stcli.store.people import People

        return People(self.database)

    @cached_property
    def ledger(self) -> Ledger:
        from stcli.store.ledger import Ledger

        return Ledger(self.database)

    @cached_property
    def feeds(self) -> Feeds:
        from stcli.store.feeds import Feeds

        return Feeds(self.database)

    @cached_property
    def customers(self) -> Customers:
        from stcli.store.customers import Customers

        return Customers(self.database)

    @cached_property
    def canaries(self) -> Canaries:
        from stcli.store.canaries import Canaries

        return Canaries(self.database)

    @cached_property
    def enrolments(self) -> Enrolments:
        from stcli.store.enrolments import Enrolments

        return Enrolments(self.database)

    @cached_property
    def qualifications(self) -> Qualifications:
        from stcli.store.qualifications import Qualifications

        return Qualifications(self.database)

    @cached_property
    def runs(self) -> Runs:
        from stcli.store.runs import Runs

        return Runs(self.database)

    @cached_property
    def failures(self) -> Failures:
        from stcli.store.failures import Failures

        return Failures(self.database)

    @cached_property
    def accepted(self) -> AcceptedFiles:
        from stcli.store.accepted import AcceptedFiles

        return AcceptedFiles(self.database)

    @cached_property
    def turns(self) -> Turns:
        from stcli.store.turns import Turns

        return Turns(self.database)

    def close(self) -> None:
        self.database.close()
