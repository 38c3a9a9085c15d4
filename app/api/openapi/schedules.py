"""Schedules: their routes, what is taken and what is shown."""

from typing import Any

from app import errors
from app.api.openapi import members as m
from app.api.openapi import vocabulary as words
from app.api.openapi.problems import WITH_BODY
from app.api.openapi.route import JSON, Answer, Route
from app.service_model.json_schema import Schema, reference

TAG = "Schedules"

_SCHEDULE = reference("Schedule")
_NOT_FOUND = (errors.ResourceNotFound,)

ROUTES = [
    Route(
        "POST /v1/schedules",
        "createSchedule",
        TAG,
        "Make a schedule",
        {201: Answer("The schedule.", _SCHEDULE, ("Location",))},
        "The key must be allowed on the collection what the runs will do there.",
        body={JSON: reference("ScheduleCreation")},
        errors=(errors.ServiceQuotaExceeded, errors.Conflict),
    ),
    Route(
        "GET /v1/schedules",
        "listSchedules",
        TAG,
        "List schedules",
        {200: Answer("One page.", reference("SchedulePage"))},
        parameters=("MaxResults", "NextToken"),
        errors=(errors.InvalidPaginationToken,),
    ),
    Route(
        "GET /v1/schedules/{ScheduleId}",
        "getSchedule",
        TAG,
        "Show a schedule with its newest runs",
        {200: Answer("The schedule.", reference("ScheduleWithTicks"))},
        parameters=("ScheduleId",),
        errors=_NOT_FOUND,
    ),
    Route(
        "PATCH /v1/schedules/{ScheduleId}",
        "updateSchedule",
        TAG,
        "Change a schedule",
        {200: Answer("The schedule as it is now.", reference("ScheduleWithTicks"))},
        "The key must be allowed what the runs do. Members that are absent stay as they are. With other settings a re-sync "
        "begins anew; what it indexed stays. Disabling ends runs that wait or are under way.",
        ("ScheduleId",),
        {JSON: reference("ScheduleChange")},
        (*_NOT_FOUND, errors.Conflict),
    ),
    Route(
        "DELETE /v1/schedules/{ScheduleId}",
        "deleteSchedule",
        TAG,
        "Delete a schedule",
        {204: Answer("It is gone, and the record of its runs with it; what they did stays done.")},
        parameters=("ScheduleId",),
        errors=(*_NOT_FOUND, *WITH_BODY),
    ),
    Route(
        "POST /v1/schedules/{ScheduleId}/run",
        "runSchedule",
        TAG,
        "Run a schedule now",
        {202: Answer("The run, which waits for its turn.", reference("Tick"))},
        "Also where the schedule is disabled. The key must be allowed what the run does.",
        ("ScheduleId",),
        errors=(*_NOT_FOUND, *WITH_BODY, errors.Conflict),
    ),
]

_SETTINGS: Schema = {
    "type": "object",
    "description": (
        "RETENTION: CollectionId, Days. RESYNC: CollectionId, Bucket, and Prefix where it is not all of the bucket. "
        "INTEGRITY: none."
    ),
    "additionalProperties": False,
    "properties": {
        "CollectionId": words.COLLECTION_ID,
        "Days": m.whole(1, words.MAX_RETENTION_DAYS),
        "Bucket": m.text(pattern=f"^{words.BUCKET}$"),
        "Prefix": m.text(longest=words.MAX_PREFIX),
    },
}

_CHANGEABLE: dict[str, Schema] = {
    "Name": m.said(m.text(pattern=f"^{words.SCHEDULE_NAME}$"), "No other schedule of the account has it."),
    "Cron": m.said(
        m.text(longest=words.MAX_CRON), "Minute, hour, day of month, month, day of week, as `30 3 * * MON-FRI`."
    ),
    "TimeZone": m.said(m.text(), "Of the IANA time zone database; absent: UTC."),
    "CatchUp": m.said(
        m.one_of(words.CATCH_UPS),
        "Due times that nobody saw: none of them becomes a run, the newest one does (ONE, the default), or each of up to "
        f"{words.MAX_MISSED}.",
    ),
    "Settings": _SETTINGS,
    "Enabled": m.FLAG,
}

_TICK = m.answered(
    "DueAt Trigger Status",
    "One due time of a schedule, and what became of it.",
    DueAt=m.MOMENT,
    Trigger=m.said(m.one_of(words.TICK_TRIGGERS), "MANUAL: somebody asked for it."),
    Status=m.one_of(words.TICK_STATUSES),
    Attempt=m.whole(1),
    StartedAt=m.MOMENT,
    FinishedAt=m.MOMENT,
    Result=m.said({"type": "object"}, "Counts of what was done or found so far."),
    Error=m.answered("Code Message", Code=m.text(), Message=m.text()),
)

_SHOWN: dict[str, Schema] = {
    "ScheduleId": m.ID,
    "Name": m.text(),
    "Kind": m.one_of(words.SCHEDULE_KINDS),
    "Cron": m.text(),
    "TimeZone": m.text(),
    "CatchUp": m.one_of(words.CATCH_UPS),
    "Settings": {"type": "object"},
    "Enabled": m.FLAG,
    "NextRunAt": m.said(m.MOMENT, "Absent while it is disabled."),
    "LastRun": reference("Tick"),
    "CreatedAt": m.MOMENT,
    "UpdatedAt": m.MOMENT,
    "Links": m.answered("Self Run", Self=m.PATH, Run=m.PATH),
}
_NEEDS = "ScheduleId Name Kind Cron TimeZone CatchUp Settings Enabled CreatedAt UpdatedAt Links"


def schemas() -> dict[str, Any]:
    """Give the schemas of schedules."""
    kind = m.one_of(words.SCHEDULE_KINDS)
    return {
        "ScheduleCreation": m.taken("Name Kind Cron", **_CHANGEABLE, Kind=kind),
        "ScheduleChange": m.taken("", **_CHANGEABLE),
        "Schedule": m.answered(_NEEDS, **_SHOWN),
        "ScheduleWithTicks": m.answered(f"{_NEEDS} Ticks", **_SHOWN, Ticks=m.list_of(reference("Tick"))),
        "SchedulePage": m.page_of("Schedules", "Schedule"),
        "Tick": _TICK,
    }
