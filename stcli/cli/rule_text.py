"""Mappings in words for people: a rule in one line, and the two sides of a tab."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stcli.domain.campaign import Tab
    from stcli.domain.mapping.rules import Rule


def describe_rule(rule: Rule) -> str:
    """Where a mapping's value comes from, in one line."""
    from stcli.domain.mapping.rules import Dynamic, ManualInput, ManualSelect

    if isinstance(rule, Dynamic):
        default = f" (else {rule.default!r})" if rule.default else ""
        return " > ".join((rule.source, *rule.transform)) + default
    if isinstance(rule, ManualInput | ManualSelect):
        return f'"{rule.value}"'
    return " > ".join((rule.template, *rule.transform))


def sides(tab: Tab) -> tuple[str, str]:
    """Where the values of a tab come from and go to."""
    from stcli.domain.campaign import Tab

    both = ("Referral Factory", "ServiceTitan")
    return (both[1], both[0]) if tab is Tab.SYNC else both
