"""Whether the tabs of a campaign can run: by its file, and by what both systems say of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from stcli.domain.campaign import Action, CampaignConfig, Tab, in_use
from stcli.domain.mapping.validate import TabVerdict

if TYPE_CHECKING:
    from stcli.usecases.online_check import Finding


@dataclass(frozen=True, slots=True)
class TabStatus:
    """A tab's switch, whether it can run, and what it lacks. ``faults``: how much is wrong in it."""

    action: str
    ready: bool
    missing: tuple[str, ...]
    faults: int = 0


def tab_status(config: CampaignConfig, verdicts: Mapping[Tab, TabVerdict]) -> dict[Tab, TabStatus]:
    """A tab that is not in use is ready: nothing keeps the others from running."""
    used = in_use(config)
    return {
        tab: _status(_switch(config, tab), verdicts[tab])
        if tab in used
        else TabStatus(Action.NOTHING.value, ready=True, missing=())
        for tab in Tab
    }


def with_findings(
    tabs: Mapping[Tab, TabStatus], findings: Sequence[Finding]
) -> dict[Tab, TabStatus]:
    """The same with what the two systems say of the tabs in use."""
    after = dict(tabs)
    for finding in findings:
        tab = finding.tab
        if tab is None or finding.is_warning:
            continue
        before = after[tab]
        missing = tuple(dict.fromkeys([*before.missing, finding.missing]))
        after[tab] = replace(
            before,
            ready=False,
            missing=tuple(filter(None, missing)),
            faults=before.faults + 1,
        )
    return after


def _status(switch: str, verdict: TabVerdict) -> TabStatus:
    faults = sum(not fault.is_warning for fault in verdict.faults)
    return TabStatus(switch, verdict.ready, verdict.missing, faults)


def _switch(config: CampaignConfig, tab: Tab) -> str:
    """What a tab in use does, in the file's words."""
    if tab in (Tab.LEADS, Tab.REFERRERS):
        return config.booking_tab(tab).action.value
    return "write_back" if config.sync is None or tab is Tab.RETURN else config.sync.type.value
