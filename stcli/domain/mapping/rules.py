"""The data types of a mapping: where the value of one target comes from.

A tagged union on ``type``, in the words of the product. A new data type is one class here; the type
checker then lists every place that has to know it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from stcli.domain.mapping import template
from stcli.domain.settings_types import FilledText, Text, Written


class Dynamic(Written):
    """A source field, different for each record; ``default`` stands in for an empty one."""

    type: Literal["dynamic"]
    source: FilledText = Field(alias="from")
    default: Text = ""
    transform: tuple[FilledText, ...] = ()


class ManualInput(Written):
    """The same text for all records."""

    type: Literal["manual_input"]
    value: Text


class ManualSelect(Written):
    """One of the target's options, the same for all records."""

    type: Literal["manual_select"]
    value: Text


class Template(Written):
    """Text with ``{source}`` placeholders."""

    type: Literal["template"]
    template: FilledText
    transform: tuple[FilledText, ...] = ()


Rule = Annotated[Dynamic | ManualInput | ManualSelect | Template, Field(discriminator="type")]
RuleChanges = Mapping[str, Rule | None]
"""Targets with their new rule; None takes the mapping out."""
DATA_TYPES = ("dynamic", "manual_input", "manual_select", "template")


def as_written(rule: Rule) -> dict[str, object]:
    """A rule as a file has it, without what goes without saying."""
    values = rule.model_dump(by_alias=True, mode="json")
    return {name: value for name, value in values.items() if name in _SAID or value not in ("", [])}


WHERE_FROM = frozenset({"from", "value", "template"})
"""The keys that say where a value comes from: each data type has one of them."""
_SAID = WHERE_FROM | {"type"}


def sources_of(rule: Rule) -> tuple[str, ...]:
    """The fields that a rule reads; none of a template that is none."""
    match rule:
        case Dynamic():
            return (rule.source,)
        case Template():
            try:
                return template.sources(rule.template)
            except template.TemplateFault:
                return ()
        case ManualInput() | ManualSelect():
            return ()
