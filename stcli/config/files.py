"""The campaign files of a home: reading, beginning, and changing single values in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stcli.config.document import DocumentPath, parse_document, read_bytes
from stcli.config.load import (
    LoadedCampaign,
    interpret,
    interpret_changed,
    load_campaign,
    no_campaign,
)
from stcli.domain.campaign import Action, CampaignConfig, Method, Tab
from stcli.domain.ids import CampaignName
from stcli.errors import ConfigurationError, Problem
from stcli.paths import Home, write_private

# What edits a file is imported where one is edited: most commands only read.
if TYPE_CHECKING:
    from stcli.config.edit import EditResult
    from stcli.config.upgrade import Upgrade
    from stcli.domain.mapping.rules import RuleChanges

_SCHEMA_LINE = "# yaml-language-server: $schema=../campaign.schema.json\n"
_NEW = """\
# {name}: see `stcli map fields {name}` for what can be mapped.
version: 1
referral_campaign: {referral_campaign}
servicetitan:
  tenant_id: {tenant_id}
  environment: {environment}
leads:
  action: nothing
  limits: {{max_creates: 200}}
referrers:
  action: nothing
  limits: {{max_creates: 200}}
qualification:
  method: do_not_qualify
"""


class CampaignFiles:
    """Where campaign settings live; every change keeps what the person wrote elsewhere."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def names(self) -> list[CampaignName]:
        return [CampaignName(name) for name in self._home.campaign_names()]

    def exists(self, name: CampaignName) -> bool:
        """Whether the name is taken, be it by a link to a file that is not there."""
        path = self._home.campaign_file(name)
        return path.exists() or path.is_symlink()

    def path(self, name: CampaignName) -> str:
        return str(self._home.campaign_file(name))

    def load(self, name: CampaignName) -> LoadedCampaign:
        return load_campaign(self._home.campaign_file(name), name)

    def existing(self, name: CampaignName) -> Path:
        """The campaign's file; ``UsageError`` where there is none, ``ConfigurationError`` where only a
        link to none is."""
        path = self._home.campaign_file(name)
        if not path.exists():
            raise no_campaign(path, name)
        return path

    def begin(
        self, name: CampaignName, *, referral_campaign: str, tenant_id: int, environment: str
    ) -> None:
        """Write a new file in which every action is ``nothing``."""
        import json

        text = _NEW.format(
            name=name,
            referral_campaign=json.dumps(referral_campaign, ensure_ascii=False),
            tenant_id=tenant_id,
            environment=environment,
        )
        write_private(self._home.campaign_file(name), _SCHEMA_LINE + text)

    def copy(
        self,
        source: CampaignName,
        target: CampaignName,
        *,
        referral_campaign: str,
        tenant_id: int | None,
    ) -> None:
        """Begin a campaign with another one's settings, comments and all. It books, enrols and
        qualifies nobody until somebody says so, and on another tenant it has no connection values
        yet."""
        if self.exists(target):
            self.existing(target)
            raise ConfigurationError(
                f"there is a campaign {target} already: {self.path(target)}",
                f"Choose another name, or look at the difference: stcli diff {source} {target}",
            )
        config = self.load(source).config
        text = self.text(source)
        removed: list[DocumentPath] = [("leads", "since"), ("referrers", "since")]
        values: dict[DocumentPath, object] = {("referral_campaign",): referral_campaign}
        for tab in (Tab.LEADS, Tab.REFERRERS):
            if config.booking_tab(tab).action is not Action.NOTHING:
                values[tab.value, "action"] = Action.NOTHING.value
        if config.qualification.method is not Method.DO_NOT_QUALIFY:
            values["qualification", "method"] = Method.DO_NOT_QUALIFY.value
        if config.sync is not None:
            values["sync", "limits", "max_creates"] = 0
        if tenant_id is not None and tenant_id != config.servicetitan.tenant_id:
            values["servicetitan", "tenant_id"] = tenant_id
            removed += [("servicetitan", "client_id"), ("servicetitan", "booking_provider")]
        text = _with(text, values, removed)
        interpret_changed(parse_document(text, file=self.path(target)))
        write_private(self._home.campaign_file(target), text)

    def update_schema(self, *, dry_run: bool = False) -> bool:
        """Bring the schema that the files' first line points to up to this version, whatever stands
        there; whether it was not."""
        from stcli.config.schema import schema_text

        text, file = schema_text(), self._home.schema_file
        try:
            is_current = read_bytes(file) == text.encode()
        except (FileNotFoundError, ConfigurationError):
            is_current = False
        if not is_current and not dry_run:
            write_private(file, text)
        return not is_current

    def change(
        self,
        name: CampaignName,
        values: Mapping[DocumentPath, object],
        removed: Sequence[DocumentPath] = (),
    ) -> str:
        """Set and remove these values and nothing else; the difference as text. What would not be a
        valid campaign file is not written."""

        return self.edit(name, lambda text, _before: _with(text, values, removed)).diff

    def change_by(
        self,
        name: CampaignName,
        plan: Callable[
            [CampaignConfig],
            tuple[Mapping[DocumentPath, object], Mapping[Tab, RuleChanges]],
        ],
    ) -> str:
        """Set the values and mappings that ``plan`` makes of what the file says once nobody else can
        change it; the difference as text. Where it raises nothing is written."""

        from stcli.config.rules_edit import with_rules

        def change(text: str, before: LoadedCampaign) -> str:
            values, rules = plan(before.config)
            text = _with(text, values, ())
            for tab, changes in rules.items():
                text = with_rules(text, before, tab, changes)
            return text

        return self.edit(name, change).diff

    def upgrade(self, name: CampaignName, *, dry_run: bool) -> Upgrade:
        """Bring a campaign's file to the version that this stcli reads."""
        from stcli.config.upgrade import upgrade_campaign

        return upgrade_campaign(self.existing(name), dry_run=dry_run)

    def text(self, name: CampaignName) -> str:
        """The whole file as it stands, also where it is not valid."""
        path = self.existing(name)
        try:
            return read_bytes(path).decode()
        except UnicodeDecodeError:
            raise ConfigurationError(
                f"{path} is not text in UTF-8", "Save it as UTF-8 with your editor."
            ) from None

    def judged(self, name: CampaignName, text: str) -> list[Problem]:
        """What would be wrong with a campaign file of this text; that a tab still lacks mappings is
        not."""
        try:
            loaded = interpret(parse_document(text, file=self.path(name)))
        except ConfigurationError as error:
            return list(error.problems) or [Problem(self.path(name), 1, 1, "", error.message)]
        return [
            loaded.place(tab, fault)
            for tab in loaded.verdicts
            for fault in loaded.faults(tab)
            if fault.is_wrong
        ]

    def replace(self, name: CampaignName, before: str, after: str) -> EditResult:
        """Put a new text in the place of ``before``. ``ConfigurationError`` where
        somebody changed the file meanwhile, or where the new text is no valid campaign file."""
        from stcli.config.edit import edit_file

        path = self._home.campaign_file(name)

        def change(text: str) -> str:
            if text != before:
                raise ConfigurationError(
                    f"{path} was changed by somebody else meanwhile, so it was left as it is", ""
                )
            return after

        return edit_file(path, change, interpret)

    def edit(
        self,
        name: CampaignName,
        change: Callable[[str, LoadedCampaign], str],
        accept: Callable[[LoadedCampaign], None] = lambda _after: None,
    ) -> EditResult:
        """Replace a file's text by ``change`` of it and of what it says. What is no valid campaign
        file afterwards, or what ``accept`` raises for, is not written."""
        from stcli.config.edit import edit_file

        path = self.existing(name)

        def changed(text: str) -> str:
            return change(text, interpret(parse_document(text, file=str(path))))

        return edit_file(path, changed, lambda document: accept(interpret_changed(document)))

    def set_rules(
        self, name: CampaignName, tab: Tab, changes: RuleChanges
    ) -> tuple[str, LoadedCampaign]:
        """Set and take out mappings of a tab; the difference as text, and what the file says then.
        A mapping that is wrong is refused; one that lacks others beside it is not."""
        from stcli.config.rules_edit import refuse_faulty, with_rules

        after: list[LoadedCampaign] = []

        def accept(loaded: LoadedCampaign) -> None:
            refuse_faulty(loaded, tab, [t for t, rule in changes.items() if rule is not None])
            after.append(loaded)

        edited = self.edit(
            name, lambda text, before: with_rules(text, before, tab, changes), accept
        )
        return edited.diff, after[-1]

    def remove(self, name: CampaignName) -> None:
        self._home.campaign_file(name).unlink(missing_ok=True)


def _with(text: str, values: Mapping[DocumentPath, object], removed: Sequence[DocumentPath]) -> str:
    from stcli.config.edit import remove_value, set_value

    for path in removed:
        text = remove_value(text, path)
    for path, value in values.items():
        text = set_value(text, path, value)
    return text
