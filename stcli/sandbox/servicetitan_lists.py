"""The lists that a mapping chooses from (units, campaigns, tags), and the suppressed emails."""

from collections.abc import Callable, Iterable
from typing import Any

from stcli.sandbox.calls import Answer, Call, Operation
from stcli.sandbox.records import NamedSetting, Suppression
from stcli.sandbox.servicetitan_bodies import (
    business_unit_body,
    campaign_body,
    suppression_body,
    tag_type_body,
)
from stcli.sandbox.servicetitan_shared import DATED_FIELDS, Routes, not_found, path_id
from stcli.sandbox.validation import Query

SETTINGS = "/settings/v2/tenant/{tenant}"
MARKETING = "/marketing/v2/tenant/{tenant}"


class ListRoutes(Routes):
    def operations(self) -> tuple[Operation, ...]:
        units, tags = "tn.stn.businessunits:r", "tn.stn.tagtypes:r"
        campaigns, suppressions = "tn.mrk.campaigns:r", "tn.mrk.suppressions:r"
        return (
            Operation("GET", SETTINGS + "/business-units", self._units, units),
            Operation("GET", SETTINGS + "/business-units/{id}", self._unit, units),
            Operation("GET", SETTINGS + "/tag-types", self._tags, tags),
            Operation("GET", MARKETING + "/campaigns", self._campaigns, campaigns),
            Operation("GET", MARKETING + "/suppressions", self._suppressions, suppressions),
        )

    def _units(self, call: Call) -> Answer:
        return setting_page(call, self.tenant(call).business_units.values(), business_unit_body)

    def _unit(self, call: Call) -> Answer:
        number = path_id(call)
        found = self.tenant(call).business_units.get(number)
        if found is None:
            raise not_found("business unit", number)
        return Answer(200, business_unit_body(found))

    def _tags(self, call: Call) -> Answer:
        return setting_page(call, self.tenant(call).tag_types.values(), tag_type_body, named=False)

    def _campaigns(self, call: Call) -> Answer:
        return setting_page(call, self.tenant(call).campaigns.values(), campaign_body)

    def _suppressions(self, call: Call) -> Answer:
        query = Query(call.query)
        active = query.active()
        ids = query.ids()
        email = query.text("email")
        records: Iterable[Suppression] = (
            found
            for found in self.tenant(call).suppressions.values()
            if active in (None, found.active)
            and (ids is None or found.id in ids)
            and (email is None or found.email.lower() == email.lower())
        )
        fields = {**DATED_FIELDS, "Email": "email"}
        found = query.sorted(query.dated(records), fields)
        return Answer(200, query.page(found, suppression_body))


def setting_page(
    call: Call,
    settings: Iterable[NamedSetting],
    show: Callable[[NamedSetting], dict[str, Any]],
    *,
    named: bool = True,
) -> Answer:
    """`named`: the list has the filters `name` and `ids`, which the one of tag types lacks."""
    query = Query(call.query)
    active = query.active()
    ids = query.ids() if named else None
    name = query.text("name") if named else None
    records = (
        found
        for found in settings
        if active in (None, found.active)
        and (ids is None or found.id in ids)
        and (name is None or name.lower() in found.name.lower())
    )
    found = query.sorted(query.dated(records), {**DATED_FIELDS, "Name": "name"})
    return Answer(200, query.page(found, show))
