"""The misfortunes of the chaos runs: each is a fault of the sandbox with the share of requests that
meet it."""

from __future__ import annotations

from random import Random
from typing import Any

WRITES: tuple[dict[str, Any], ...] = (
    {"api": "st", "method": "POST", "route": "/bookings"},
    {"api": "rf", "method": "POST", "route": "/users"},
    {"api": "rf", "method": "PUT"},
    {"api": "st", "method": "PATCH"},
)
EXPORTS = {"api": "st", "route": "/export/"}

# Every name stands for one entry of the issue's list; a value is the fault and what may vary in it.
MENU: dict[str, dict[str, Any]] = {
    "429, seconds, RF": {"kind": "status", "status": 429, "api": "rf", "retry_after": 0.3},
    "429, seconds, ST": {"kind": "status", "status": 429, "api": "st", "retry_after": 0.3},
    "429, date": {
        "kind": "status",
        "status": 429,
        "api": "st",
        "retry_after": 1.0,
        "retry_after_form": "date",
    },
    "500, JSON": {"kind": "status", "status": 500},
    "502, HTML": {"kind": "status", "status": 502, "body": "html"},
    "503, empty": {"kind": "status", "status": 503, "body": "empty"},
    "5xx after the commit": {"kind": "status", "status": 500, "commit": True},
    "maintenance": {"kind": "status", "status": 409, "api": "st"},
    "reset before": {"kind": "reset_before", "reset": True},
    "reset during": {"kind": "truncate", "reset": True},
    "reset after the commit": {"kind": "lose_answer", "reset": True},
    "truncated": {"kind": "truncate"},
    "HTML for JSON": {"kind": "garbage"},
    "HTML after the commit": {"kind": "garbage", "commit": True},
    "wrong JSON": {"kind": "wrong_json"},
    "wrong JSON after the commit": {"kind": "wrong_json", "commit": True},
    "error as success": {"kind": "error_as_success"},
    "error as success after the commit": {"kind": "error_as_success", "commit": True},
    "slow": {"kind": "delay", "seconds": 0.4},
    "slower than the timeout": {"kind": "delay", "seconds": 1.3, "api": "st"},
    "token expires early": {"kind": "expire_token", "api": "st"},
    "secret revoked": {"kind": "status", "status": 401, "api": "auth"},
    "page repeated": {"kind": "repeat_page", **EXPORTS},
    "records repeated": {"kind": "repeat_records", **EXPORTS},
    "position refused": {"kind": "refuse_position", **EXPORTS},
    "answer lost after the commit": {"kind": "lose_answer"},
    "unknown field": {"kind": "unknown_field"},
    "customer renamed": {"kind": "rename_customer", **EXPORTS},
    "redirect": {"kind": "redirect"},
    "late commit": {"kind": "late_commit"},
}
RARE = (
    "429, seconds, RF",
    "maintenance",
    "redirect",
    "secret revoked",
    "wrong JSON",
    "error as success",
    "slow",
)
"""What ends a pass, or costs time, at every request is rarer, so that something happens at all."""


def some(source: Random, names: tuple[str, ...] = tuple(MENU)) -> list[tuple[str, dict[str, Any]]]:
    """One to four faults with their names, ready for the sandbox."""
    chosen = []
    for name in source.sample(names, min(source.randint(1, 4), len(names))):
        fault = dict(MENU[name])
        share = source.choice((0.02, 0.05) if name in RARE else (0.05, 0.2, 0.5))
        if name.startswith("slower"):
            share = 0.05
        if fault["kind"] == "late_commit":
            fault |= {"seconds": 0.1, "commit_after_seconds": source.uniform(0, 0.7)}
        is_of_writes = fault["kind"] == "late_commit" or fault.get("commit")
        if is_of_writes or ("api" not in fault and source.random() < 0.5):
            fault |= source.choice(WRITES)
        chosen.append((name, {**fault, "probability": share}))
    return chosen
