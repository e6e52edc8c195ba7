"""What arrived and what was answered: counters, the busiest windows, a short log without secrets."""

from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from stcli.sandbox.calls import APP_KEY_PARAMETER, Call
from stcli.sandbox.limits import Peak
from stcli.sandbox.settings import SandboxSettings

DROPPED = 0


@dataclass(slots=True)
class ApiTraffic:
    window_seconds: float
    requests: int = 0
    routes: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    peaks: dict[object, Peak] = field(default_factory=dict)

    def largest_window(self) -> int:
        return max((peak.largest for peak in self.peaks.values()), default=0)


class Traffic:
    """`requests` counts arrivals, also those that a fault or a limit turned away."""

    def __init__(self, settings: SandboxSettings) -> None:
        self._windows = {
            "rf": settings.rf_window_seconds,
            "st": settings.st_window_seconds,
            "auth": settings.token_window_seconds,
        }
        self.apis: dict[str, ApiTraffic] = {}
        self.recent: deque[dict[str, Any]] = deque(maxlen=settings.request_log_size)
        self.defects = 0
        self.reset()

    def reset(self) -> None:
        self.apis = {name: ApiTraffic(seconds) for name, seconds in self._windows.items()}
        self.recent.clear()

    def arrived(self, api: str, call: Call, window_key: object) -> None:
        found = self.apis[api]
        found.requests += 1
        found.routes[f"{call.method} {call.template}"] += 1
        peak = found.peaks.get(window_key)
        if peak is None:
            peak = found.peaks[window_key] = Peak(found.window_seconds)
        peak.arrive()

    def answered(self, api: str, call: Call, status: int, fault: str | None) -> None:
        """`status` is `DROPPED` where the connection ended without an answer."""
        self.apis[api].statuses[status] += 1
        self.recent.append(
            {
                "at": datetime.now(UTC).isoformat(),
                "api": api,
                "method": call.method,
                "path": call.path,
                "route": call.template,
                "query": {k: v for k, v in call.query.items() if k != APP_KEY_PARAMETER},
                "status": status or None,
                "fault": fault,
            }
        )

    def report(self) -> dict[str, Any]:
        return {
            "apis": {
                name: {
                    "requests": api.requests,
                    "routes": dict(sorted(api.routes.items())),
                    "statuses": {
                        str(status) if status else "dropped": count
                        for status, count in sorted(api.statuses.items())
                    },
                    "too_many_requests": api.statuses[429],
                    "window_seconds": api.window_seconds,
                    "max_in_window": api.largest_window(),
                }
                for name, api in self.apis.items()
            },
            "recent": list(self.recent),
        }
