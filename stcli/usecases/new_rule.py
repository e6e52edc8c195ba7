"""A mapping's rule out of what was asked for on a command line or in a dialogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stcli.domain.mapping.rules import Dynamic, ManualInput, ManualSelect, Rule, Template
from stcli.errors import UsageError


@dataclass(frozen=True, slots=True)
class RuleRequest:
    """Where a value is to come from: one of ``source``, ``value``, ``option``, ``template``."""

    source: str | None = None
    value: str | None = None
    option: str | None = None
    template: str | None = None
    transforms: Sequence[str] = ()
    default: str | None = None

    def rule(self) -> Rule:
        """The rule; ``UsageError`` where none, several, or flags that do not go together were given."""
        given = [
            flag
            for flag, text in (
                ("--from", self.source),
                ("--value", self.value),
                ("--select", self.option),
                ("--template", self.template),
            )
            if text is not None
        ]
        if len(given) != 1:
            raise UsageError(
                f"{' and '.join(given)} exclude each other" if given else "nothing to map it to",
                "Give one of --from FIELD, --value TEXT, --select OPTION and --template TEXT.",
            )
        if self.default is not None and self.source is None:
            raise UsageError(f"--default does not go with {given[0]}", "It needs --from FIELD.")
        if self.transforms and self.source is None and self.template is None:
            raise UsageError(
                f"--transform does not go with {given[0]}", "It needs --from or --template."
            )
        if not (self.source or self.template or self.value is not None or self.option):
            raise UsageError(f"{given[0]} is empty", "To take a mapping out: stcli map unset")
        return self._rule()

    def _rule(self) -> Rule:
        if self.source is not None:
            return Dynamic.model_validate(
                {
                    "type": "dynamic",
                    "from": self.source,
                    "default": self.default or "",
                    "transform": tuple(self.transforms),
                }
            )
        if self.template is not None:
            return Template(
                type="template", template=self.template, transform=tuple(self.transforms)
            )
        if self.option is not None:
            return ManualSelect(type="manual_select", value=self.option)
        return ManualInput(type="manual_input", value=self.value or "")


def rule_from(text: str) -> Rule:
    """A mapping in one word: ``name>first_name`` reads a field through transforms, ``"Text"`` is
    always the same, ``{name} of {address.city}`` is a template."""
    if len(text) > 1 and text[0] == text[-1] == '"':
        return ManualInput(type="manual_input", value=text[1:-1])
    if "{" in text:
        return Template(type="template", template=text)
    source, *transforms = (part.strip() for part in text.split(">"))
    if not source or not all(transforms):
        raise UsageError(
            f"{text!r} is no mapping", 'Such as name, name>first_name, "a text" or {name}.'
        )
    return RuleRequest(source=source, transforms=transforms).rule()
