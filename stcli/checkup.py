"""The doctor's round of one home: which checks, in which order, with which of its parts.

Local checks come first and each check goes on without what an earlier one found broken, so that one
broken thing is named once and does not hide another.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence

from stcli import __version__, machine
from stcli.domain.ids import CampaignName
from stcli.errors import ConfigurationError, NotConnected, StateError, StcliError
from stcli.usecases.doctor import (
    Examination,
    check_account,
    check_campaign,
    check_lock,
    check_settings,
    check_tenant,
    check_work,
)
from stcli.wiring import Application

LITTLE_ROOM = 200 * 2**20
NO_ROOM = 20 * 2**20


async def examine(
    app: Application, found: Examination, names: Sequence[CampaignName], program: tuple[str, ...]
) -> None:
    """Every check of the home, the account and these campaigns."""
    app.ask_briefly()
    check_machine(app, found)
    check_secrets(app, found, names)
    if found.is_healthy("settings", "Referral Factory token"):
        await check_account(found, app.open_referral)
    check_schedule(app, found, program)
    if not names:
        found.warn("campaigns", "none is here yet", "Begin: stcli connect NAME --tenant-id ID")
    for name in names:
        await _check_one(app, found, name)


def check_machine(app: Application, found: Examination) -> None:
    """Version, home, log, permissions, disk, settings, state, limits."""
    found.ok(
        "version",
        f"stcli {__version__}, Python {platform.python_version()}, {platform.system()} "
        f"{platform.release()}",
    )
    reason = machine.unusable(app.home)
    if reason:
        found.fail(
            "home",
            StateError(
                reason, "Check its owner and permissions, or set STCLI_HOME to another folder."
            ),
        )
    else:
        found.ok("home", str(app.home.config))
    no_log = machine.unwritable_log(app.home)
    if no_log and not reason:
        found.warn(
            "log",
            no_log,
            "Runs go on without it, and nobody can see later what they did: make room for the file.",
        )
    elif not no_log:
        found.ok("log", str(app.home.log_file))
    open_to_others = machine.readable_by_others(app.home)
    if open_to_others:
        found.warn(
            "permissions",
            "others on this machine may read " + ", ".join(open_to_others),
            "Names and addresses lie there: chmod 700 the folders, chmod 600 the files.",
        )
    else:
        found.ok("permissions", "only you can read the home")
    free = machine.free_bytes(app.home)
    said = f"{free // 2**20:,} MB free"
    if free < NO_ROOM:
        found.fail("disk", StateError(f"only {said}", "Free some space; passes cannot go on."))
    elif free < LITTLE_ROOM:
        found.warn("disk", f"only {said}", "Free some space before passes cannot go on.")
    else:
        found.ok("disk", said)
    with found.attempt("settings"):
        tuning, settings = app.tuning, app.settings
        found.ok("settings", f"version {settings.version}")
    _check_state(app, found)
    with found.attempt("rate"):
        tuning = app.tuning
        pause = app.longest_pause_seconds
        said = (
            f"at most {tuning.rf_rate_per_minute:g} a minute to Referral Factory, "
            f"{tuning.st_rate_per_second:g} a second to each tenant"
        )
        if pause:
            found.warn(
                "rate",
                f"a server asked to be left alone for another {pause:.0f} s",
                "Runs wait for it by themselves. Find out what else uses the account.",
            )
        elif tuning.rf_rate_per_minute > 600 or tuning.st_rate_per_second > 60:
            found.warn(
                "rate",
                f"{said}, which is more than the vendors allow (600 a minute, 60 a second)",
                "Unset STCLI_RF_RATE_PER_MINUTE and STCLI_ST_RATE_PER_SECOND.",
            )
        else:
            found.ok("rate", said)


def _check_state(app: Application, found: Examination) -> None:
    with found.attempt("state"):
        if not app.has_state:
            found.ok("state", "none yet; the first connect makes it")
            return
        examined = app.examine_state()
        if examined.problems:
            raise StateError(
                f"the database is damaged: {examined.problems[0]}",
                "Put a copy back: stcli state restore FILE; bookings already made are found again.",
            )
        rows = app.state.connections.all()  # also tells a newer version's database
        place = f"{app.place.name}, " if app.place.is_shared else ""
        found.ok("state", f"{place}sound, {len(rows)} connection{'' if len(rows) == 1 else 's'}")
    if app.place.is_shared and app.home.database.exists():
        found.warn(
            "state of the home",
            f"{app.home.database} is there too, and not used while STCLI_DATABASE_URL is set",
            "What ran with it is unknown to the other hosts: bring it over (stcli state copy) or "
            "move it away.",
        )


def check_secrets(app: Application, found: Examination, names: Sequence[CampaignName]) -> None:
    """Whether each secret is found, and where; the secrets themselves are never told."""
    if not found.is_healthy("settings"):
        return
    for request in app.account_secrets:
        with found.attempt(request.label):
            found.ok(request.label, f"from {app.secrets.find(request).source}")
    for name in names:
        try:
            proof = app.settings_of(name).proof
        except StcliError:
            continue  # the campaign's own check tells it
        if proof is not None:
            with found.attempt(f"{name}: client secret"):
                found.ok(
                    f"{name}: client secret", f"from {app.find_client_secret(name, proof).source}"
                )


def check_schedule(app: Application, found: Examination, program: tuple[str, ...]) -> None:
    """Whether something calls ``stcli run``, and as this version would write it."""
    with found.attempt("schedule"):
        there = app.schedules.installed(app.schedule_name)
        if not there:
            others = app.schedules.others(app.schedule_name)
            found.warn(
                "schedule",
                "; ".join(["stcli installed none for this home", *(one.message for one in others)]),
                "Unless something else calls stcli run: stcli schedule install",
            )
        for one in there:
            job = app.scheduled_job(program, one.campaigns, one.cadence, one)
            if len(there) > 1:
                found.warn(
                    "schedule",
                    f"two of them; one is in {one.scheduler}",
                    "Remove both and install one: stcli schedule remove",
                )
            elif one.remarks:
                for remark in one.remarks:
                    found.warn("schedule", f"{one.scheduler}: {remark.message}", remark.hint)
            elif changed := app.schedules.differences(one, job):
                found.warn(
                    "schedule",
                    f"{one.scheduler}: not as stcli would write it now; this differs: "
                    + ", ".join(changed),
                    "Where this shell has it right, bring it up to date: stcli schedule install",
                )
            else:
                found.ok("schedule", f"{one.scheduler}, every {one.cadence}")


async def _check_one(app: Application, found: Examination, name: CampaignName) -> None:
    with found.attempt(f"{name}: file"):
        subject = app.subject(name)
        other = app.other_file(name, subject.file_hash)
        if other is not None:
            raise ConfigurationError(
                f"not the one that {other.by} accepted at {other.at:%Y-%m-%d %H:%M} UTC, so nothing "
                "runs on this host",
                f"Deploy that one here, or make this one count: stcli map validate {name} --accept",
            )
        found.ok(f"{name}: file", str(app.home.campaign_file(name)))
    if not found.is_healthy(f"{name}: file", "settings", "state", "home"):
        return
    if not app.has_state:
        found.fail(
            f"{name}: connection",
            NotConnected(f"{name} is not connected", f"Run: stcli connect {name} --tenant-id ID"),
        )
        return
    is_connected = check_settings(found, subject, app.state)
    if found.is_healthy("Referral Factory", "Referral Factory token"):
        await check_campaign(found, subject, app.open_referral())
    proof = subject.config.proof
    secrets = (f"{name}: client secret", "ServiceTitan app key")
    if is_connected and proof is not None and found.is_healthy(*secrets):
        secret = app.find_client_secret(name, proof).secret
        await check_tenant(found, subject, proof, secret, app.open_crm_afresh, app.now())
    check_work(found, subject, app.state, app.now())
    check_lock(found, name, app.worker(name), app.now())


def named(app: Application, campaign: CampaignName | None) -> Sequence[CampaignName]:
    """The campaign that was asked for, or all that are here."""
    if campaign is None:
        return app.files.names()
    if not app.exists(campaign):
        raise ConfigurationError(
            f"there is no campaign file {app.home.campaign_file(campaign)}",
            f"Begin: stcli connect {campaign} --tenant-id ID",
        )
    return [campaign]
