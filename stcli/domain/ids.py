"""Identifiers as types of their own, so that a job's number is never passed for a booking's."""

from typing import NewType

CampaignName = NewType("CampaignName", str)
"""The local name of a campaign: that of its file."""

UserId = NewType("UserId", int)
"""A person in Referral Factory, in whatever campaign."""

RfCampaignId = NewType("RfCampaignId", int)
TenantId = NewType("TenantId", int)
ProviderId = NewType("ProviderId", int)
BookingId = NewType("BookingId", int)
JobId = NewType("JobId", int)
CustomerId = NewType("CustomerId", int)
ContactId = NewType("ContactId", int)
RunId = NewType("RunId", str)
