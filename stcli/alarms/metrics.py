"""The state of a home in Prometheus' text format, for node_exporter's textfile collector."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class Metrics:
    """Gauges in the order in which they are first set; each family is described once."""

    _families: dict[str, tuple[str, list[str]]] = field(default_factory=dict)

    def set(self, name: str, help_text: str, value: float, **labels: str) -> None:
        family = self._families.setdefault(f"stcli_{name}", (help_text, []))
        inside = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        shown = f"{value:.3f}".rstrip("0").rstrip(".")
        family[1].append(f"stcli_{name}{{{inside}}} {shown}" if inside else f"stcli_{name} {shown}")

    def text(self) -> str:
        lines: list[str] = []
        for name, (help_text, samples) in self._families.items():
            lines += [f"# HELP {name} {help_text}", f"# TYPE {name} gauge", *samples]
        return "\n".join(lines) + "\n"

    def set_all(
        self, name: str, help_text: str, label: str, values: Mapping[str, float], **labels: str
    ) -> None:
        """One sample for each of ``values``, told apart by ``label``."""
        for text, value in values.items():
            self.set(name, help_text, value, **labels, **{label: text})


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def families(text: str) -> Iterable[str]:
    """The names of what a text describes."""
    return (line.split()[2] for line in text.splitlines() if line.startswith("# TYPE "))
