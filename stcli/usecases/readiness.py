"""Whether the tabs of a campaign can run, from its file alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stcli.domain.campaign import Action, CampaignConfig, Tab
from stcli.domain.mapping.validate import TabVerdict


@dataclass(frozen=True, slots=True)
class TabStatus:
    """A tab's switch, whether it can run, and what it lacks. ``faults``: how much is wrong in it."""

    action: str
    ready: bool
    missing: tuple[str, ...]
    faults: int = 0


def tab_status(config: CampaignConfig, verdicts: Mapping[Tab, TabVerdict]) -> dict[Tab, TabStatus]:
    """A tab that is not in use is ready: nothing keeps the others from running."""
    found: dict[Tab, TabStatus] = {}
    for tab in (Tab.LEADS, Tab.REFERRERS):
        action, verdict = config.booking_tab(tab).action, verdicts[tab]
        faults = sum(not fault.is_warning for fault in verdict.faults)
        if action is Action.NOTHING:
            found[tab] = TabStatus(action.value, ready=True, missing=())
        else:
            found[tab] = TabStatus(action.value, verdict.ready, verdict.missing, faults)
    return found
