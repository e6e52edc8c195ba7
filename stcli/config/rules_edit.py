"""Changes mappings in a campaign file's text, touching no more of it than they have to."""

from __future__ import annotations

from collections.abc import Collection

from stcli.config.document import DocumentPath
from stcli.config.edit import remove_value, rename_key, set_value
from stcli.config.load import FIELDS_OF, LoadedCampaign, not_written
from stcli.domain.campaign import Tab
from stcli.domain.mapping.rules import WHERE_FROM, Rule, RuleChanges, as_written


def with_rules(text: str, before: LoadedCampaign, tab: Tab, changes: RuleChanges) -> str:
    """``text`` with these mappings. A rule changes key by key, so that comments and spacing inside it
    stay, also where its data type becomes another one."""
    before.config.require(tab)
    fields = FIELDS_OF[tab]
    present = before.config.rules_of(tab)
    for target, rule in changes.items():
        old = present.get(target)
        if old == rule:
            continue
        path = (*fields, target)
        if rule is None:
            text = remove_value(text, path)
        elif old is None:
            text = set_value(text, path, as_written(rule))
        else:
            text = _with_other_rule(text, path, old, rule)
    return text


def _with_other_rule(text: str, path: DocumentPath, old: Rule, rule: Rule) -> str:
    now, then = as_written(rule), as_written(old)
    was, will = WHERE_FROM.intersection(then), WHERE_FROM.intersection(now)
    for before, after in zip(was - will, will - was, strict=True):
        text = rename_key(text, (*path, before), after)
    for key, value in now.items():
        if then.get(key) != value:
            text = set_value(text, (*path, key), value)
    possible = rule.model_dump(by_alias=True)
    for key in old.model_dump(by_alias=True, exclude_unset=True):
        # What goes without saying may stand there, if the new data type knows it.
        if key not in was | now.keys() and (key in then or key not in possible):
            text = remove_value(text, (*path, key))
    return text


def refuse_faulty(after: LoadedCampaign, tab: Tab, targets: Collection[str]) -> None:
    """Raise what is wrong with these mappings. That others are still missing keeps nobody from
    setting one after the other."""
    problems = [
        after.place(tab, fault)
        for fault in after.faults(tab)
        if fault.is_wrong and fault.path and fault.path[0] in targets
    ]
    if problems:
        raise not_written(problems)
