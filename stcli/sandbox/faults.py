"""Scripted misfortune: which requests meet it, how often, and what becomes of them.

A kind is a row of `COURSES`: whether and when the request takes effect, and how the exchange ends.
The gateway interprets the row, so a new kind needs a new row at most.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from stcli.sandbox.calls import Call
from stcli.sandbox.limits import retry_after

Effect = Literal["never", "at_once", "late", "as_asked"]
Ending = Literal["answer", "status", "drop", "truncate", "garbage", "wrong", "error"]


@dataclass(frozen=True, slots=True)
class Course:
    """``alteration``: how the server answers otherwise than its documents say (`alterations.py`)."""

    effect: Effect
    ending: Ending
    alteration: str = ""


COURSES: Mapping[str, Course] = {
    "status": Course("as_asked", "status"),
    "reset_before": Course("never", "drop"),
    "lose_answer": Course("at_once", "drop"),
    "delay": Course("at_once", "answer"),
    "late_commit": Course("late", "drop"),
    "truncate": Course("at_once", "truncate"),
    "garbage": Course("as_asked", "garbage"),
    "wrong_json": Course("as_asked", "wrong"),
    "error_as_success": Course("as_asked", "error"),
    "redirect": Course("never", "status"),
    "expire_token": Course("at_once", "answer", "expire_token"),
    "refuse_position": Course("at_once", "answer", "refuse_position"),
    "repeat_page": Course("at_once", "answer", "repeat_page"),
    "repeat_records": Course("at_once", "answer", "repeat_records"),
    "unknown_field": Course("at_once", "answer", "unknown_field"),
    "rename_customer": Course("at_once", "answer", "rename_customer"),
}

BODIES = ("json", "html", "empty")
ELSEWHERE = "http://127.0.0.1:9/elsewhere"
"""Where a redirect leads unless it is told otherwise: a port of this machine where nobody listens."""
HTML_BODY = b"<html><head><title>Sorry</title></head><body><h1>Back in a moment</h1></body></html>"
GARBAGE_BODY = b"<!doctype html><html><body>Please sign in to the guest network</body></html>"


@dataclass(slots=True)
class Fault:
    """`times` matching requests meet it (None: all), or every `every`-th, or a share of them."""

    kind: str
    api: str | None = None
    method: str | None = None
    route: str = ""
    body_contains: str | None = None
    times: int | None = 1
    every: int | None = None
    skip: int = 0
    probability: float | None = None
    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)
    body: str = "json"
    retry_after: float | None = None
    retry_after_form: Literal["seconds", "date"] = "seconds"
    seconds: float = 0.0
    commit: bool = False
    commit_after_seconds: float = 0.0
    reset: bool = False
    matched: int = 0
    applied: int = 0

    @classmethod
    def parse(cls, wanted: Mapping[str, Any]) -> "Fault":
        """ValueError says what cannot be meant."""
        known = {item.name for item in fields(cls)} - {"matched", "applied"}
        unknown = sorted(set(wanted) - known)
        if unknown:
            raise ValueError(f"unknown: {', '.join(unknown)}; known: {', '.join(sorted(known))}")
        if wanted.get("api") not in (None, "rf", "st", "auth"):
            raise ValueError("api must be rf, st or auth")
        if wanted.get("kind") not in COURSES:
            raise ValueError(f"kind must be one of {', '.join(COURSES)}")
        if wanted.get("body", "json") not in BODIES:
            raise ValueError(f"body must be one of {', '.join(BODIES)}")
        if wanted["kind"] == "redirect":
            wanted = {"status": 307, "headers": {"Location": ELSEWHERE}, **wanted}
        repeats = "every" in wanted or "probability" in wanted
        fault = cls(**{"times": None if repeats else 1, **wanted})
        if fault.every is not None and fault.every < 1:
            raise ValueError("every must be at least 1")
        return fault

    @property
    def course(self) -> Course:
        return COURSES[self.kind]

    def answer_headers(self) -> dict[str, str]:
        headers = dict(self.headers)
        if self.retry_after is not None:
            headers["Retry-After"] = retry_after(self.retry_after, self.retry_after_form)
        return headers

    def concerns(self, api: str, call: Call) -> bool:
        return (
            self.api in (None, api)
            and (self.method is None or self.method.upper() == call.method)
            and (self.route in call.template or self.route in call.path)
            and (self.body_contains is None or self.body_contains.encode() in call.body)
        )

    def report(self) -> dict[str, Any]:
        return {item.name: getattr(self, item.name) for item in fields(self)}


class FaultPlan:
    """The faults in force; for each request the first that matches and is due applies."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(f"faults-{seed}")  # noqa: S311 - repeatable on purpose
        self.faults: list[Fault] = []

    def add(self, fault: Fault) -> Fault:
        self.faults.append(fault)
        return fault

    def clear(self) -> None:
        self.faults.clear()

    def take(self, api: str, call: Call) -> Fault | None:
        for fault in self.faults:
            if fault.concerns(api, call) and self._due(fault):
                fault.applied += 1
                return fault
        return None

    def _due(self, fault: Fault) -> bool:
        if fault.times is not None and fault.applied >= fault.times:
            return False
        fault.matched += 1
        counted = fault.matched - fault.skip
        if counted <= 0:
            return False
        if fault.every is not None and counted % fault.every != 0:
            return False
        return fault.probability is None or self._random.random() < fault.probability
