"""The three columns of a tab while somebody walks through them on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from stcli.cli import choosing
from stcli.cli.map_set import setup_line
from stcli.cli.output import columns_of, note, padded, plain
from stcli.cli.rule_text import describe_rule, sides
from stcli.domain.catalog import Source, Target, catalogue_of, open_prefix
from stcli.domain.mapping.rules import Dynamic, ManualInput, ManualSelect, Rule, Template
from stcli.domain.mapping.transforms import TRANSFORMS
from stcli.domain.mapping.validate import TabVerdict, check_tab
from stcli.domain.nearest import suggestion
from stcli.errors import UsageError
from stcli.usecases.new_rule import RuleRequest

if TYPE_CHECKING:
    from stcli.domain.campaign import Tab
    from stcli.domain.ids import CampaignName
    from stcli.usecases.field_lists import FieldLists

SAVE, LEAVE, BACK = "\0save", "\0leave", "\0back"
FIELD, FIXED, OPTION, TEMPLATE, NOTHING = "field", "fixed", "option", "template", "nothing"
ENDS = [(SAVE, "Save and leave"), (LEAVE, "Leave without saving")]


class Sheet:
    """The three columns while somebody works on them."""

    def __init__(
        self, name: CampaignName, tab: Tab, lists: FieldLists, before: Mapping[str, Rule]
    ) -> None:
        self.name = name
        self.tab = tab
        self.lists = lists
        self.before = dict(before)
        self.rules = dict(before)

    def rebase(self, now: Mapping[str, Rule]) -> list[str]:
        """Take over what the file says by now, with the changes of this sheet on top. The targets
        that both have changed; theirs is replaced only by saving once more."""
        changes = self.changes
        clashes = [t for t in changes if now.get(t) != self.before.get(t)]
        self.before = dict(now)
        self.rules = {t: rule for t, rule in {**now, **changes}.items() if rule is not None}
        return clashes

    @property
    def changes(self) -> dict[str, Rule | None]:
        """What differs from the file; None takes a mapping out."""
        gone: dict[str, Rule | None] = {t: None for t in self.before if t not in self.rules}
        new = {t: rule for t, rule in self.rules.items() if self.before.get(t) != rule}
        return {**gone, **new}

    def walk(self) -> bool:
        """Until somebody leaves; whether the changes are to be saved."""
        last = ""
        while True:
            rows, header = self._rows()
            chosen = choosing.choose(
                self._heading(), [*rows, *ENDS], last, header=header, erase=True
            )
            if chosen == SAVE:
                return True
            if chosen == LEAVE:
                how = self._leave()
                if how != BACK:
                    return how == SAVE
                continue
            last = chosen
            target = self._target(chosen)
            if target is not None:
                self._map(target)
                # The next one that is needed, so that a newcomer only goes on.
                missing = self._verdict().missing
                last = missing[0] if missing else target.name

    # The list

    def _verdict(self) -> TabVerdict:
        """The catalogue's verdict, with the fields that the campaign itself requires."""
        verdict = check_tab(self.tab.value, self.rules)
        required = [t.name for t in self.lists.targets if t.required and t.name not in self.rules]
        return replace(verdict, missing=tuple(dict.fromkeys([*verdict.missing, *required])))

    def _heading(self) -> str:
        unsaved = f" ({len(self.changes)} unsaved)" if self.changes else ""
        return f"{self.name} {self.tab.value}{unsaved}. {setup_line(self.tab, self._verdict())}"

    def _rows(self) -> tuple[list[tuple[str, str]], str]:
        """The three columns and their header: required targets first, then those that are mapped,
        then the rest."""
        known = {target.name: target for target in self.lists.targets}
        names = [*known, *(name for name in self.rules if name not in known)]
        order = sorted(
            names,
            key=lambda name: (not _is_required(known.get(name)), name not in self.rules),
        )
        origin, owner = sides(self.tab)
        cells = [("TO " + owner.upper(), "DATA TYPE", "FROM " + origin.upper())]
        cells += [self._cells(name, is_required=_is_required(known.get(name))) for name in order]
        first, second = (max(columns_of(row[column]) for row in cells) for column in range(2))
        header, *lines = (f"{padded(a, first)}  {padded(b, second)}  {c}" for a, b, c in cells)
        return list(zip(order, lines, strict=True)), header

    def _cells(self, name: str, *, is_required: bool) -> tuple[str, str, str]:
        rule = self.rules.get(name)
        shown = f"{plain(name)} *" if is_required else plain(name)
        if rule is None:
            return shown, "-", "not mapped"
        return shown, rule.type, plain(describe_rule(rule))

    def _leave(self) -> str:
        if not self.changes:
            return LEAVE
        number = len(self.changes)
        return choosing.choose(
            f"{number} change{'s are' if number > 1 else ' is'} not saved",
            [(SAVE, "Save and leave"), (LEAVE, "Throw away and leave"), (BACK, "Go on editing")],
            SAVE,
            erase=True,
        )

    def _target(self, name: str) -> Target | None:
        """The target that was chosen; where it stands for any name, the name is asked for."""
        if open_prefix(name):
            text = choosing.type_in(f"{name}: which one? (empty: none)")
            if not text:
                return None
            name = open_prefix(name) + text
        known = {target.name: target for target in self.lists.targets}
        pattern = catalogue_of(self.tab.value).target(name)
        found = known.get(name) or pattern
        return None if found is None else replace(found, name=name)

    # One mapping

    def _map(self, target: Target) -> None:
        """Ask until the mapping is right, or somebody goes back."""
        while True:
            kind = self._kind(target)
            if kind == BACK:
                return
            if kind == NOTHING:
                self.rules.pop(target.name, None)
                return
            try:
                rule = self._rule(target, kind)
            except UsageError as error:
                note(f"{error.message}. {error.hint}")
                continue
            if rule is None:
                continue
            faults = [
                fault
                for fault in check_tab(self.tab.value, {**self.rules, target.name: rule}).faults
                if fault.path[:1] == (target.name,) and fault.is_wrong
            ]
            if not faults:
                self.rules[target.name] = rule
                return
            for fault in faults:
                note(plain(f"{fault.message}. {suggestion(fault.found, fault.allowed)}").strip())

    def _kind(self, target: Target) -> str:
        origin, _ = sides(self.tab)
        example = f", such as {plain(target.example)}" if target.example else ""
        options = [
            (FIELD, f"dynamic: a field of {origin}"),
            (FIXED, "manual input: the same text for everyone"),
            *([(OPTION, "manual select: one of its options")] if target.options else []),
            (TEMPLATE, "template: a text with fields in it"),
            *([(NOTHING, "not mapped")] if target.name in self.rules else []),
            (BACK, "back to the list"),
        ]
        rule = self.rules.get(target.name)
        current = {"manual_input": FIXED, "manual_select": OPTION, "template": TEMPLATE}
        return choosing.choose(
            f"{plain(target.name)} ({target.type.value}{example})",
            options,
            FIELD if rule is None else current.get(rule.type, FIELD),
            erase=True,
        )

    def _rule(self, target: Target, kind: str) -> Rule | None:
        now = self.rules.get(target.name)
        if kind == FIXED:
            text = choosing.type_in(
                f"{plain(target.name)}, for everyone",
                now.value if isinstance(now, ManualInput) else "",
            )
            return RuleRequest(value=text).rule()
        if kind == OPTION:
            current = now.value if isinstance(now, ManualSelect) else ""
            options = [(option, plain(option)) for option in target.options]
            chosen = choosing.choose(
                f"{plain(target.name)}: which one", options, current, erase=True
            )
            return RuleRequest(option=chosen).rule()
        if kind == TEMPLATE:
            current = now.template if isinstance(now, Template) else ""
            if "\n" in current:
                note(f"It has several lines; change it with: stcli config edit {self.name}")
                return None
            text = choosing.type_in(
                f"{plain(target.name)}, a text with fields such as {{first_name}}", current
            )
            before = now.transform if isinstance(now, Template) else ()
            return RuleRequest(template=text, transforms=before).rule() if text else None
        return self._dynamic(target, now if isinstance(now, Dynamic) else None)

    def _dynamic(self, target: Target, now: Dynamic | None) -> Rule | None:
        sources = [source for source in self.lists.sources if self.lists.takes(target, source)]
        options = [(s.name, _about(s)) for s in sources]
        if now is not None and now.source not in {value for value, _ in options}:
            options.insert(0, (now.source, plain(now.source)))
        chosen = choosing.choose(
            f"{plain(target.name)}: which field",
            [*options, (BACK, "back")],
            now.source if now else "",
            erase=True,
        )
        if chosen == BACK:
            return None
        if open_prefix(chosen):
            text = choosing.type_in(f"{chosen}: which one? (empty: back)")
            if not text:
                return None
            chosen = open_prefix(chosen) + text
        transforms = choosing.type_in(
            f"{plain(chosen)}: transforms, in order, with > between ({', '.join(TRANSFORMS)}; "
            "empty: none)",
            ">".join(now.transform) if now else "",
        )
        default = choosing.type_in(
            f"Where {plain(chosen)} is empty (empty: nothing)", now.default if now else ""
        )
        return RuleRequest(
            source=chosen,
            transforms=[part.strip() for part in transforms.split(">") if part.strip()],
            default=default,
        ).rule()


def _is_required(target: Target | None) -> bool:
    return target is not None and target.required


def _about(source: Source) -> str:
    example = f" (such as {plain(source.example)})" if source.example else ""
    return f"{plain(source.name)}: {plain(source.label)}{example}"
