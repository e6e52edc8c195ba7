"""The job routes of ServiceTitan's JPM module: list, one, history, feeds, job types."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from stcli.sandbox.calls import Answer, Call, Operation, Refusal
from stcli.sandbox.records import Job
from stcli.sandbox.servicetitan_bodies import (
    history_event_body,
    history_item_body,
    job_body,
    job_export_body,
    job_type_body,
)
from stcli.sandbox.servicetitan_lists import setting_page
from stcli.sandbox.servicetitan_shared import DATED_FIELDS, Routes, not_found, path_id
from stcli.sandbox.tenant import JOB_STATUSES, Tenant
from stcli.sandbox.validation import INVALID, Query

BASE = "/jpm/v2/tenant/{tenant}"
READ = "tn.jpm.jobs:r"
TYPES = "tn.jpm.jobtypes:r"
EQUALS = (
    ("customerId", "customer_id"),
    ("locationId", "location_id"),
    ("jobTypeId", "job_type_id"),
    ("campaignId", "campaign_id"),
    ("businessUnitId", "business_unit_id"),
)
PRIORITIES = ("Low", "Normal", "High", "Urgent")


class JobRoutes(Routes):
    def operations(self) -> tuple[Operation, ...]:
        return (
            Operation("GET", BASE + "/jobs", self._list, READ),
            Operation("GET", BASE + "/jobs/{id}", self._get, READ),
            Operation("GET", BASE + "/jobs/{id}/history", self._history, READ),
            Operation("GET", BASE + "/export/jobs", self._export, READ),
            Operation("GET", BASE + "/export/job-history", self._export_history, READ),
            Operation("GET", BASE + "/job-types", self._types, TYPES),
            Operation("GET", BASE + "/job-types/{id}", self._type, TYPES),
        )

    def _list(self, call: Call) -> Answer:
        tenant = self.tenant(call)
        query = Query(call.query)
        found = query.dated(_filtered(tenant, query))
        completed_from = query.instant("completedOnOrAfter")
        completed_before = query.instant("completedBefore")
        if completed_from is not None:
            found = (j for j in found if j.completed_on and j.completed_on >= completed_from)
        if completed_before is not None:
            found = (j for j in found if j.completed_on and j.completed_on < completed_before)
        found = query.sorted(found, {**DATED_FIELDS, "Priority": "priority"})
        return Answer(200, query.page(found, job_body))

    def _get(self, call: Call) -> Answer:
        return Answer(200, job_body(self._job(call)))

    def _history(self, call: Call) -> Answer:
        events = [history_item_body(event) for event in self._job(call).history]
        return Answer(200, {"history": events})

    def _export(self, call: Call) -> Answer:
        tenant = self.tenant(call)
        return self.feed_page(call, tenant.job_feed, lambda key: job_export_body(tenant.jobs[key]))

    def _export_history(self, call: Call) -> Answer:
        tenant = self.tenant(call)
        if self.world.settings.history_feed_items == "event":
            return self.feed_page(call, tenant.event_feed, lambda key: _one_event(tenant, key))
        return self.feed_page(call, tenant.job_history_feed, lambda key: _all_events(tenant, key))

    def _types(self, call: Call) -> Answer:
        # The one list whose order is asked for by other names.
        query = {name: value for name, value in call.query.items() if name != "sort"}
        if query.get("orderBy"):
            descends = query.get("orderByDirection", "").lower().startswith("desc")
            query["sort"] = ("-" if descends else "+") + query["orderBy"]
        ordered = replace(call, query=query)
        return setting_page(ordered, self.tenant(call).job_types.values(), job_type_body)

    def _type(self, call: Call) -> Answer:
        number = path_id(call)
        found = self.tenant(call).job_types.get(number)
        if found is None:
            raise not_found("job type", number)
        return Answer(200, job_type_body(found))

    def _job(self, call: Call) -> Job:
        number = path_id(call)
        job = self.tenant(call).jobs.get(number)
        if job is None:
            raise not_found("job", number)
        return job


def _filtered(tenant: Tenant, query: Query) -> Iterable[Job]:
    found: Iterable[Job]
    booking_id = query.integer("bookingId")
    customer_id = query.integer("customerId")
    ids = query.ids()
    if booking_id is not None:
        found = [tenant.jobs[key] for key in tenant.jobs_by_booking.get(booking_id, ())]
    elif ids is not None:
        found = [tenant.jobs[key] for key in sorted(set(ids) & tenant.jobs.keys())]
    elif customer_id is not None:
        found = [tenant.jobs[key] for key in tenant.jobs_by_customer.get(customer_id, ())]
    else:
        found = tenant.jobs.values()
    conditions = _conditions(query, ids)
    tags = query.ids("tagTypeIds")
    return (
        job
        for job in found
        if all(getattr(job, name) in values for name, values in conditions.items())
        and (tags is None or not set(tags).isdisjoint(job.tag_type_ids))
    )


def _conditions(query: Query, ids: list[int] | None) -> dict[str, set[Any]]:
    """For each attribute that the request names, the values that pass."""
    conditions: dict[str, set[Any]] = {} if ids is None else {"id": set(ids)}
    for parameter, attribute in EQUALS:
        wanted = query.integer(parameter)
        if wanted is not None:
            conditions[attribute] = {wanted}
    number = query.text("number")
    if number is not None:
        conditions["number"] = {number}
    priority = query.choice("priority", PRIORITIES)
    if priority is not None:
        conditions["priority"] = {priority}
    status = query.text("jobStatus")
    if status is not None:
        if status not in JOB_STATUSES:
            raise Refusal(400, INVALID, {"jobStatus": [f"{status} is no job status."]})
        conditions["status"] = {status}
    return conditions


def _all_events(tenant: Tenant, job_id: int) -> dict[str, Any]:
    history = tenant.jobs[job_id].history
    return {"jobId": job_id, "history": [history_event_body(event) for event in history]}


def _one_event(tenant: Tenant, event_id: int) -> dict[str, Any]:
    event = tenant.events[event_id]
    return {"jobId": event.job_id, "history": [history_event_body(event)]}
