"""How ServiceTitan shows its records: one function for each response schema.

Every property of a schema is present; what has no value and may be null is null.
"""

from typing import Any

from stcli.sandbox.clock import instant_text
from stcli.sandbox.records import (
    Booking,
    BookingContact,
    Customer,
    CustomerContact,
    CustomFieldType,
    HistoryEvent,
    Job,
    NamedSetting,
    ProviderTag,
    Suppression,
)
from stcli.sandbox.tenant import OFFICE_USER_ID, Tenant

Body = dict[str, Any]


def booking_body(booking: Booking) -> Body:
    return {
        "id": booking.id,
        "source": booking.source,
        "createdOn": instant_text(booking.created_on),
        "name": booking.name,
        "address": booking.address,
        "customerType": booking.customer_type,
        "start": instant_text(booking.start),
        "campaignId": booking.campaign_id,
        "businessUnitId": booking.business_unit_id,
        "isFirstTimeClient": booking.is_first_time_client,
        "uploadedImages": booking.uploaded_images,
        "isSendConfirmationEmail": booking.send_confirmation_email,
        "status": booking.status,
        "dismissingReasonId": booking.dismissing_reason_id,
        "jobId": booking.job_id,
        "externalId": booking.external_id,
        "priority": booking.priority,
        "jobTypeId": booking.job_type_id,
        "bookingProviderId": booking.provider_id,
        "modifiedOn": instant_text(booking.modified_on),
        "summary": booking.summary,
    }


def booking_export_body(booking: Booking) -> Body:
    return {**booking_body(booking), "active": booking.active}


def booking_contact_body(contact: BookingContact) -> Body:
    return {
        "id": contact.id,
        "type": contact.type,
        "value": contact.value,
        "memo": contact.memo,
        "modifiedOn": instant_text(contact.modified_on),
    }


def provider_tag_body(tag: ProviderTag) -> Body:
    return {
        "id": tag.id,
        "tagName": tag.tag_name,
        "description": tag.description,
        "type": "V2Api",
        "createdOn": instant_text(tag.created_on),
        "modifiedOn": instant_text(tag.modified_on),
        "active": tag.active,
    }


def job_body(job: Job) -> Body:
    return {
        "id": job.id,
        "jobNumber": job.number,
        "projectId": None,
        "customerId": job.customer_id,
        "locationId": job.location_id,
        "jobStatus": job.status,
        "completedOn": None if job.completed_on is None else instant_text(job.completed_on),
        "businessUnitId": job.business_unit_id,
        "jobTypeId": job.job_type_id,
        "priority": job.priority,
        "campaignId": job.campaign_id,
        "appointmentCount": 1,
        "firstAppointmentId": job.id * 10 + 1,
        "lastAppointmentId": job.id * 10 + 1,
        "recallForId": job.recall_for_id,
        "warrantyId": job.warranty_id,
        "jobGeneratedLeadSource": None,
        "noCharge": job.no_charge,
        "notificationsEnabled": True,
        "createdOn": instant_text(job.created_on),
        "createdById": OFFICE_USER_ID,
        "modifiedOn": instant_text(job.modified_on),
        "tagTypeIds": job.tag_type_ids,
        "leadCallId": None,
        "partnerLeadCallId": None,
        "bookingId": job.booking_id,
        "soldById": None,
        "customerPo": "",
        "invoiceId": job.id * 10 + 2,
        "membershipId": None,
        "total": job.total,
        "createdFromEstimateId": None,
        "estimateIds": [],
        "summary": job.summary,
        "customFields": [],
        "externalData": [],
    }


def job_export_body(job: Job) -> Body:
    return {**job_body(job), "active": job.active}


def history_event_body(event: HistoryEvent) -> Body:
    return {
        "id": event.id,
        "employeeId": event.employee_id,
        "eventType": event.event_type,
        "date": instant_text(event.date),
        "usedSchedulingTool": "Manual",
    }


def history_item_body(event: HistoryEvent) -> Body:
    return {**history_event_body(event), "memo": event.memo}


def customer_body(customer: Customer, tenant: Tenant, application: str | None = None) -> Body:
    """External data is shown to the application that names its own guid, to nobody else."""
    external = customer.external_data.get(application or "", {})
    return {
        "id": customer.id,
        "active": customer.active,
        "name": customer.name,
        "type": customer.type,
        "address": {"latitude": None, "longitude": None, **customer.address},
        "customFields": [
            {"typeId": type_id, "name": tenant.custom_fields[type_id].name, "value": value}
            for type_id, value in customer.custom_fields.items()
        ],
        "balance": customer.balance,
        "taxExempt": customer.tax_exempt,
        "tagTypeIds": customer.tag_type_ids,
        "doNotMail": customer.do_not_mail,
        "doNotService": customer.do_not_service,
        "nationalAccount": customer.national_account,
        "createdOn": instant_text(customer.created_on),
        "createdById": OFFICE_USER_ID,
        "modifiedOn": instant_text(customer.modified_on),
        "mergedToId": customer.merged_to_id,
        "paymentTermId": customer.payment_term_id,
        "creditLimit": customer.credit_limit,
        "creditLimitBalance": customer.credit_limit_balance,
        "externalData": [{"key": key, "value": value} for key, value in external.items()],
    }


def customer_contact_body(contact: CustomerContact) -> Body:
    preferences = None
    if contact.marketing_enabled is not None:
        preferences = {
            "jobRemindersEnabled": True,
            "marketingUpdatesEnabled": contact.marketing_enabled,
            "invoiceStatementNotification": True,
        }
    is_phone = contact.type in ("Phone", "MobilePhone")
    return {
        "modifiedOn": instant_text(contact.modified_on),
        "phoneSettings": {
            "phoneNumber": contact.value if is_phone else "",
            "doNotText": contact.do_not_text,
        },
        "createdOn": instant_text(contact.created_on),
        "preferences": preferences,
        "id": contact.id,
        "type": contact.type,
        "value": contact.value,
        "memo": contact.memo,
    }


def listed_contact_body(contact: CustomerContact) -> Body:
    return {**customer_contact_body(contact), "customerId": contact.customer_id}


def contact_export_body(contact: CustomerContact) -> Body:
    return {**listed_contact_body(contact), "active": contact.active}


def custom_field_type_body(field: CustomFieldType) -> Body:
    return {
        "id": field.id,
        "name": field.name,
        "dataType": field.data_type,
        "dataTypeOptions": field.options or None,
        "createdOn": instant_text(field.created_on),
        "modifiedOn": instant_text(field.modified_on),
    }


def _dates(setting: NamedSetting | Suppression) -> Body:
    return {
        "createdOn": instant_text(setting.created_on),
        "modifiedOn": instant_text(setting.modified_on),
    }


def business_unit_body(unit: NamedSetting) -> Body:
    return {
        "id": unit.id,
        "active": unit.active,
        "name": unit.name,
        "officialName": f"{unit.name} of Example Heating",
        "email": "office@example.com",
        "currency": "USD",
        "phoneNumber": None,
        "invoiceHeader": None,
        "invoiceMessage": None,
        "defaultTaxRate": None,
        "authorizationParagraph": None,
        "acknowledgementParagraph": None,
        "address": None,
        "materialSku": None,
        "quickbooksClass": None,
        "accountCode": None,
        "franchiseId": None,
        "conceptCode": None,
        "corporateContractNumber": None,
        "trade": None,
        "division": None,
        "tagTypeIds": None,
        "tenant": None,
        **_dates(unit),
        "externalData": None,
    }


def job_type_body(job_type: NamedSetting) -> Body:
    return {
        "id": job_type.id,
        "name": job_type.name,
        "businessUnitIds": [],
        "skills": [],
        "tagTypeIds": [],
        "priority": "Normal",
        "duration": 7200,
        "soldThreshold": None,
        "class": "",
        "summary": "",
        "noCharge": False,
        "enforceRecurringServiceEventSelection": None,
        "invoiceSignaturesRequired": False,
        **_dates(job_type),
        "externalData": [],
        "active": job_type.active,
        "isSmartDispatched": False,
    }


def campaign_body(campaign: NamedSetting) -> Body:
    return {
        "id": campaign.id,
        "name": campaign.name,
        **_dates(campaign),
        "active": campaign.active,
        "isDefaultCampaign": False,
        "category": {"id": 11, "name": "Referrals", "active": True},
        "source": None,
        "otherSource": None,
        "businessUnit": None,
        "medium": None,
        "otherMedium": None,
        "campaignPhoneNumbers": [],
    }


def tag_type_body(tag_type: NamedSetting) -> Body:
    return {
        "id": tag_type.id,
        "name": tag_type.name,
        "color": "#3366CC",
        "code": tag_type.name[:3].upper(),
        "importance": None,
        "isConversionOpportunity": False,
        "allowToUseOnTimesheetActivity": False,
        "isVisibleOnDispatchBoard": True,
        "active": tag_type.active,
        **_dates(tag_type),
    }


def suppression_body(suppression: Suppression) -> Body:
    return {
        "id": suppression.id,
        "email": suppression.email,
        "reason": suppression.reason,
        **_dates(suppression),
        "active": suppression.active,
    }
