"""What a mapping would make of real records, without writing anything."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby

from stcli.domain.campaign import CampaignConfig, Tab
from stcli.domain.catalog import SYNC_TARGETS
from stcli.domain.eligibility import skip_reason
from stcli.domain.enrolment import CustomerSubject, Filter, KnownCustomer, allowed_email
from stcli.domain.ids import CampaignName, CustomerId, RfCampaignId
from stcli.domain.mapping.apply import (
    MappedField,
    Subject,
    Unmappable,
    draft_booking,
    map_fields,
    referrer_values,
)
from stcli.domain.matching import email_key
from stcli.domain.outcome import SkipReason
from stcli.domain.records import BookingDraft, Campaign, Person, PersonType
from stcli.domain.return_fields import ReturnSubject, wanted_values
from stcli.errors import RecordNotFound, UsageError
from stcli.store.state import State
from stcli.usecases.campaign_lookup import find_campaign
from stcli.usecases.passes.custom_fields import custom_field_sources, field_named, return_fields
from stcli.usecases.passes.options import resolve_filter, resolve_options
from stcli.usecases.ports import CrmGateway, ReferralGateway
from stcli.usecases.user_list import pages_from


@dataclass(frozen=True, slots=True)
class NewReferrer:
    """The referrer that a customer would become."""

    campaign: RfCampaignId
    values: Mapping[str, str]
    welcome_mail: bool


@dataclass(frozen=True, slots=True)
class FieldWrites:
    """The custom fields that a customer would get, by id."""

    values: Mapping[int, str]


Request = BookingDraft | NewReferrer | FieldWrites


@dataclass(frozen=True, slots=True)
class Preview:
    """Each row of the mapping for one record (a code, or a customer's number), and what would be
    sent, or why nothing can be. ``skipped``: why a pass leaves the record alone all the same."""

    record: str
    rows: tuple[MappedField, ...]
    request: Request | Unmappable
    skipped: SkipReason | None = None


SAMPLE_PAGES = 20
"""How far the user list is read for somebody to show, at most."""

_KINDS = {
    Tab.LEADS: PersonType.LEAD,
    Tab.REFERRERS: PersonType.REFERRER,
    Tab.RETURN: PersonType.REFERRER,
}


class Previewer:
    """Previews of one tab of a campaign."""

    def __init__(
        self,
        name: CampaignName,
        config: CampaignConfig,
        tab: Tab,
        state: State,
        referral: ReferralGateway,
        crm: CrmGateway,
    ) -> None:
        self.name = name
        self.state = state
        self.config = config
        self.tab = tab
        self.referral = referral
        self.crm = crm
        self.rules = config.rules_of(tab)

    async def of(self, code: str) -> list[Preview]:
        """The preview of one person."""
        if self.tab is Tab.SYNC:
            raise UsageError(
                "the sync tab makes referrers of customers, and --lead names a person",
                "Leave --lead out: the first customers are shown.",
            )
        campaign = await find_campaign(self.referral, self.config)
        try:
            person = await self.referral.user(code)
        except RecordNotFound:
            raise UsageError(
                f"Referral Factory has nobody with the code {code!r}", "The code is case-sensitive."
            ) from None
        if person.campaign_id != campaign.id:
            raise UsageError(
                f"{code} belongs to another campaign than {campaign.code}", "Check the code."
            )
        if person.type is not _KINDS[self.tab]:
            is_lead = person.type is PersonType.LEAD
            raise UsageError(
                f"{code} is a {'lead' if is_lead else 'referrer'}, not one for this tab",
                "Add --tab leads." if is_lead else "Add --tab referrers.",
            )
        return await self._of_people([person], campaign)

    async def of_some(self, number: int) -> list[Preview]:
        """Previews of the newest people of the campaign that the first pages of the user list show;
        of the first customers that may be enrolled."""
        campaign = await find_campaign(self.referral, self.config)
        if self.tab is Tab.SYNC:
            return [one async for one in self._of_customers(campaign, number)]
        found: list[Person] = []
        async for page in pages_from(
            lambda page: self.referral.users_page(page, with_counts=self.tab is Tab.RETURN)
        ):
            found += [
                person
                for person in page.people
                if person.campaign_id == campaign.id and person.type is _KINDS[self.tab]
            ]
            if page.page >= SAMPLE_PAGES:
                break
        newest = sorted(found, key=lambda person: person.id, reverse=True)[:number]
        return await self._of_people(newest, campaign)

    async def _of_people(self, people: list[Person], campaign: Campaign) -> list[Preview]:
        if self.tab is Tab.RETURN:
            fields = return_fields(self.rules, await self.crm.custom_fields())
            return [
                Preview(
                    person.code,
                    tuple(map_fields(ReturnSubject(person), self.rules)),
                    FieldWrites(wanted_values(person, fields)),
                )
                for person in people
            ]
        options = await resolve_options(self.crm, self.rules)
        subjects = [await self._subject(person, campaign) for person in people]
        return [
            Preview(
                subject.person.code,
                tuple(map_fields(subject, self.rules)),
                draft_booking(subject, self.rules, options),
                self._skip_reason(subject.person),
            )
            for subject in subjects
        ]

    def _skip_reason(self, person: Person) -> SkipReason | None:
        users, keys = self.state.enrolments.enrolled_among(
            self.name, [person.id], [email_key(person.email)]
        )
        settings = self.config.booking_tab(self.tab)
        return skip_reason(person, settings, is_enrolled=bool(users or keys))

    async def _subject(self, person: Person, campaign: Campaign) -> Subject:
        if person.referrer_id is None:
            return Subject(person, campaign)
        try:
            return Subject(person, campaign, await self.referral.user(str(person.referrer_id)))
        except RecordNotFound:
            return Subject(person, campaign)

    async def _of_customers(self, campaign: Campaign, number: int) -> AsyncIterator[Preview]:
        """The first page of customers with the first page of contacts holds enough to show."""
        wanted = await self._filter()
        names = custom_field_sources(self.rules)
        known = await self.crm.custom_fields() if names else ()
        fields = {name: field_named(name, known).id for name in names}
        required = [target.name for target in SYNC_TARGETS if target.required]
        required += [name for name, is_required in campaign.referrer_targets if is_required]
        contacts = sorted((await self.crm.contacts_feed("")).records, key=lambda c: c.customer_id)
        of_customer = {
            CustomerId(key): tuple(group)
            for key, group in groupby(contacts, key=lambda contact: contact.customer_id)
        }
        for customer in (await self.crm.customers_feed("")).records:
            whole = KnownCustomer(customer, of_customer.get(customer.id, ()))
            address = allowed_email(whole, ())
            if isinstance(address, SkipReason) or not wanted.admits(whole):
                continue
            subject = CustomerSubject(whole, address.value, fields)
            values = referrer_values(subject, self.rules, required)
            request = (
                values
                if isinstance(values, Unmappable)
                else NewReferrer(campaign.id, values, self._welcomes)
            )
            yield Preview(
                f"customer {customer.id}", tuple(map_fields(subject, self.rules)), request
            )
            number -= 1
            if number == 0:
                return

    async def _filter(self) -> Filter:
        """Which customers are wanted; when they had a job is not asked."""
        if self.config.sync is None:
            return Filter()
        return replace(await resolve_filter(self.crm, self.config.sync.filter), has_job_since=None)

    @property
    def _welcomes(self) -> bool:
        return self.config.sync is not None and self.config.sync.welcome_mail
