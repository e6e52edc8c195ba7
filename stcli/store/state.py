"""All of the state behind one name: what wiring opens and use cases are handed."""

from __future__ import annotations

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


class State:
    """The parts of the database, each with its own rules, over one connection pool."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.connections = Connections(database)
        self.people = People(database)
        self.ledger = Ledger(database)
        self.feeds = Feeds(database)
        self.customers = Customers(database)
        self.canaries = Canaries(database)
        self.enrolments = Enrolments(database)
        self.qualifications = Qualifications(database)
        self.runs = Runs(database)
        self.failures = Failures(database)

    def close(self) -> None:
        self.database.close()
