"""The campaign files of a home: reading, beginning, and changing single values in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stcli.config.document import Document, DocumentPath
from stcli.config.edit import edit_file, remove_value, set_value
from stcli.config.load import LoadedCampaign, convert, load_campaign
from stcli.domain.campaign import CampaignConfig
from stcli.domain.ids import CampaignName
from stcli.paths import Home, write_private

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
        return self._home.campaign_file(name).exists()

    def path(self, name: CampaignName) -> str:
        return str(self._home.campaign_file(name))

    def load(self, name: CampaignName) -> LoadedCampaign:
        return load_campaign(self._home.campaign_file(name), name)

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
        write_private(self._home.campaign_file(name), text)

    def change(
        self,
        name: CampaignName,
        values: Mapping[DocumentPath, object],
        removed: Sequence[DocumentPath] = (),
    ) -> str:
        """Set and remove these values and nothing else; the difference as text. What would not be a
        valid campaign file is not written."""

        def changed(text: str) -> str:
            for path in removed:
                text = remove_value(text, path)
            for path, value in values.items():
                text = set_value(text, path, value)
            return text

        return edit_file(self._home.campaign_file(name), changed, _check).diff

    def remove(self, name: CampaignName) -> None:
        self._home.campaign_file(name).unlink(missing_ok=True)


def _check(document: Document) -> None:
    convert(document, CampaignConfig, what="campaign file")
