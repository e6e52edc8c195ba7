"""The composition root: the only module that knows both the use cases and every adapter.

Everything that comes from the environment is read here once and handed on as values.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from stcli.config.files import CampaignFiles
from stcli.config.load import load_settings
from stcli.domain.campaign import AccountSettings, CampaignConfig
from stcli.domain.connection import Environment, Proof
from stcli.domain.ids import CampaignName
from stcli.errors import (
    CredentialsMissing,
    CredentialsUnusable,
    NotConnected,
    StateError,
    StcliError,
    UsageError,
)
from stcli.logs import set_up_logging
from stcli.paths import Home, find_home

# Adapters are imported where they are opened: a command loads no more than it uses.
if TYPE_CHECKING:
    from stcli.clients.ratelimit import RateLimiter
    from stcli.clients.referralfactory.client import ReferralFactoryClient
    from stcli.clients.retry import RetryPolicy
    from stcli.clients.slots import Slots
    from stcli.config.upgrade import Upgrade
    from stcli.credentials.chain import Found, SecretChain
    from stcli.credentials.names import SecretRequest
    from stcli.domain.connection import Connection
    from stcli.domain.outcome import PassKind, PassResult
    from stcli.domain.secret import Secret
    from stcli.scheduling.job import Installed, Job, Remark
    from stcli.scheduling.schedules import Schedules
    from stcli.store.accepted import Accepted
    from stcli.store.copies import Examined
    from stcli.store.engine import Database
    from stcli.store.locks import Locks
    from stcli.store.places import Place
    from stcli.store.postgres import PostgresDatabase
    from stcli.store.sent_marks import SentMarks
    from stcli.store.state import State
    from stcli.store.transfer import Copied
    from stcli.usecases.passes.concurrency import StopSignal
    from stcli.usecases.passes.context import PassOptions
    from stcli.usecases.passes.progress import Progress
    from stcli.usecases.passes.runner import Workplace
    from stcli.usecases.passes.subject import Subject
    from stcli.usecases.ports import CrmGateway
    from stcli.usecases.preview import Request

_RF_URL = "https://api.referral-factory.com/api/v2"
_ST_HOSTS = {
    Environment.PRODUCTION: ("https://api.servicetitan.io", "https://auth.servicetitan.io"),
    Environment.INTEGRATION: (
        "https://api-integration.servicetitan.io",
        "https://auth-integration.servicetitan.io",
    ),
}
_ACCOUNT = "account"


@dataclass(frozen=True, slots=True)
class Tuning:
    """What the environment may change of how both systems are reached."""

    rf_url: str
    st_api_url: str | None
    st_auth_url: str | None
    rf_rate_per_minute: float
    st_rate_per_second: float
    st_timeout_seconds: float

    def st_urls(self, environment: Environment) -> tuple[str, str]:
        api, auth = _ST_HOSTS[environment]
        return self.st_api_url or api, self.st_auth_url or auth


def read_tuning(environment: Mapping[str, str]) -> Tuning:
    """The variables of the product, with their defaults."""
    return Tuning(
        rf_url=environment.get("STCLI_RF_URL") or _RF_URL,
        st_api_url=environment.get("STCLI_ST_API_URL") or None,
        st_auth_url=environment.get("STCLI_ST_AUTH_URL") or None,
        rf_rate_per_minute=_positive(environment, "STCLI_RF_RATE_PER_MINUTE", 600),
        st_rate_per_second=_positive(environment, "STCLI_ST_RATE_PER_SECOND", 60),
        st_timeout_seconds=_positive(environment, "STCLI_ST_TIMEOUT_SECONDS", 100),
    )


def _positive(environment: Mapping[str, str], name: str, default: float) -> float:
    text = environment.get(name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise UsageError(
            f"{name} is {text!r}, not a positive number", f"Such as {name}={default:g}"
        )
    return value


@dataclass(frozen=True, slots=True)
class AsScheduled:
    """What a command printed as ``scheduler`` runs it, and what was not quite so."""

    scheduler: str
    output: bytes
    remark: Remark | None = None


def campaign_schema_text() -> str:
    """The JSON Schema of campaign files."""
    from stcli.config.schema import schema_text

    return schema_text()


class Application:
    """Everything of one home, opened when it is first needed.

    ``check_stop`` raises where a stop was asked for; what waits for a lock or a program calls it.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        show_pii: bool = False,
        verbosity: int = 0,
        log_json: bool = False,
        check_stop: Callable[[], None] = lambda: None,
    ) -> None:
        self._environment = environment
        self._check_stop = check_stop
        self.home: Home = find_home(environment)
        self.files = CampaignFiles(self.home)
        self._retries: dict[str, RetryPolicy] = {}
        self._attempts: int | None = None
        self._patience_seconds: float | None = None
        set_up_logging(self.home.log_file, show_pii=show_pii, verbosity=verbosity, as_json=log_json)

    def now(self) -> datetime:
        return datetime.now(UTC)

    @cached_property
    def actor(self) -> str:
        """Who does this, for the history of a connection."""
        import getpass
        import socket

        try:
            user = getpass.getuser()
        except (OSError, KeyError):
            user = "unknown"
        return f"{user}@{socket.gethostname()}"

    @cached_property
    def tuning(self) -> Tuning:
        return read_tuning(self._environment)

    @cached_property
    def settings(self) -> AccountSettings:
        return load_settings(self.home.settings_file)

    def upgrade_settings(self, *, dry_run: bool) -> Upgrade:
        """Bring ``settings.yaml`` to the version that this stcli reads."""
        from stcli.config.upgrade import upgrade_settings

        return upgrade_settings(self.home.settings_file, dry_run=dry_run)

    @property
    def has_alarms(self) -> bool:
        """Whether a run has anybody to tell how it ended."""
        alarms = self.settings.alarms
        return bool(alarms.ping or alarms.webhook or alarms.command or alarms.textfile)

    @cached_property
    def place(self) -> Place:
        """Where the state is kept."""
        from stcli.database_address import VARIABLE, checked
        from stcli.store.places import FilePlace, ServerPlace

        url = self._environment.get(VARIABLE)
        if url:
            return ServerPlace(checked(url), self.home.backups, self._check_stop)
        return FilePlace(self.home.database, self.home.backups, self._check_stop)

    @cached_property
    def state(self) -> State:
        return self.place.open()

    @cached_property
    def has_state(self) -> bool:
        return "state" in self.__dict__ or self.place.exists

    @property
    def shared_url(self) -> str:
        """The address of the database that hosts share, as the variable has it; ``UsageError`` where
        none is named."""
        from stcli.database_address import VARIABLE, checked

        url = self._environment.get(VARIABLE)
        if not url:
            raise UsageError(
                f"workers share a PostgreSQL database, and {VARIABLE} names none",
                f"Set it, such as {VARIABLE}=postgresql+psycopg://db.example/stcli; one "
                "machine alone needs no worker: stcli schedule install",
            )
        return checked(url)

    @property
    def host(self) -> str:
        """What this host is called in locks and in the history."""
        from stcli.processes import host_id

        return host_id(self._environment)

    # Copies of the state

    def back_up_state(self, target: Path | None) -> Path:
        """A copy of the state while others use it; by itself in the backups folder."""
        self._need_state()
        if target is None:
            return self.place.save("backup", keep_all=True)
        self.place.back_up(target)
        return target

    def examine_state(self) -> Examined:
        """The whole state looked at; nothing is changed, not even migrated."""
        self._need_state()
        return self.place.examine()

    def restore_state(self, copy: Path) -> Path | None:
        """Put a copy in the place of the state; where the present one went."""
        from stcli.store.copies import examine

        if not copy.exists():
            raise UsageError(f"there is no file {copy}", f"Copies are in {self.home.backups}.")
        self.place.refuse_itself(copy)
        found = examine(copy)
        if found.problems:
            raise StateError(
                f"{copy} cannot be put back: {found.problems[0]}", "Nothing was changed."
            )
        return self.place.put_back(copy, self._refuse_held)

    def place_at(self, url: str | None, option: str) -> Place:
        """Where ``url`` points to; without one the source is the home's file, and the target what the
        variable names."""
        from stcli.database_address import VARIABLE, checked, file_of, has_password, is_same
        from stcli.store.places import FilePlace, ServerPlace

        known = self._environment.get(VARIABLE)
        if url is None:
            if option == "--from":
                return FilePlace(self.home.database, self.home.backups, self._check_stop)
            if not known:
                raise UsageError(
                    f"it is not said where to: neither {option} nor {VARIABLE}",
                    f"Such as: {option} postgresql+psycopg://db.example/stcli",
                )
            url = known
        elif (file := file_of(url)) is not None:
            return FilePlace(file, self.home.backups, self._check_stop)
        elif has_password(url):
            raise UsageError(
                f"{option} holds a password, which every user of this machine could read there",
                f"Leave it out, and write it into ~/.pgpass or into {VARIABLE}.",
            )
        elif known and is_same(url, known):
            url = known
        return ServerPlace(checked(url, option), self.home.backups, self._check_stop)

    def copy_state(self, source: Place, target: Place, *, replace: bool) -> Copied:
        """Bring all rows of one state into another one, proved; a copy that was cut off goes on."""
        from stcli.store.places import copy_state

        if source.name == target.name:
            raise UsageError(f"{source.name} is both source and target", "Name two states.")
        if not source.exists:
            raise UsageError(f"there is no state in {source.name}", "Name where it is: --from URL")
        with closing(source.database()) as database:
            self._refuse_held(database)
        return copy_state(source, target, replace=replace, refuse_held=self._refuse_held)

    def _refuse_held(self, database: Database) -> None:
        self._locks(database).refuse_while_held()

    def _need_state(self) -> None:
        if not self.has_state:
            raise StateError(
                f"there is no state yet: {self.place.name} "
                + ("has no tables" if self.place.is_shared else "does not exist"),
                "It begins with: stcli connect NAME --tenant-id ID",
            )

    def close(self) -> None:
        if "state" in self.__dict__:
            self.state.close()

    # Secrets

    @cached_property
    def secrets(self) -> SecretChain:
        from stcli.credentials.chain import SecretChain

        commands: dict[str, Sequence[str]] = {
            name: entry.command for name, entry in self.settings.secrets.items()
        }
        return SecretChain(self._environment, self.home, commands, check_stop=self._check_stop)

    @property
    def account_secrets(self) -> tuple[SecretRequest, SecretRequest]:
        """What the account needs: the Referral Factory token and the ServiceTitan app key."""
        from stcli.credentials.names import APP_KEY, RF_TOKEN

        return RF_TOKEN, APP_KEY

    def client_secret_request(self, campaign: CampaignName, proof: Proof) -> SecretRequest:
        from stcli.credentials.names import Grant, client_secret

        return client_secret(
            campaign, Grant(proof.environment.value, proof.tenant_id, proof.client_id)
        )

    def find_client_secret(self, campaign: CampaignName, proof: Proof) -> Found:
        return self.secrets.find(self.client_secret_request(campaign, proof))

    # Both systems

    @cached_property
    def _limiter(self) -> RateLimiter:
        from stcli.clients.ratelimit import RateLimiter

        slots = self._slots()
        if self._patience_seconds is None:
            return RateLimiter(slots)
        return RateLimiter(slots, patience_seconds=self._patience_seconds)

    def _slots(self) -> Slots:
        """Who keeps the rates: all hosts of a shared state do together."""
        if (database := self._server) is not None:
            from stcli.clients.slot_table import SlotTable

            return SlotTable(database.beside)
        from stcli.clients.slots import SlotFile

        return SlotFile(self.home.limits)

    @property
    def _server(self) -> PostgresDatabase | None:
        """The database that hosts share, where they share one."""
        if not self.place.is_shared:
            return None
        from stcli.store.postgres import PostgresDatabase

        database = self.state.database
        return database if isinstance(database, PostgresDatabase) else None

    def open_referral(self, token: Secret | None = None) -> ReferralFactoryClient:
        from stcli.clients.referralfactory.client import ReferralFactoryClient

        return ReferralFactoryClient(
            url=self.tuning.rf_url,
            token=token or self.secrets.find(self.account_secrets[0]).secret,
            limiter=self._limiter,
            rate_per_minute=self.tuning.rf_rate_per_minute,
            retry=self._retry_for(self.tuning.rf_url),
        )

    def open_crm(
        self, proof: Proof, secret: Secret, *, cached_token: bool = True
    ) -> AbstractAsyncContextManager[CrmGateway]:
        from stcli.clients.servicetitan.client import ServiceTitanClient

        api_url, auth_url = self.tuning.st_urls(proof.environment)
        return ServiceTitanClient(
            api_url=api_url,
            auth_url=auth_url,
            tenant_id=proof.tenant_id,
            provider_id=proof.booking_provider,
            client_id=proof.client_id,
            client_secret=secret,
            app_key=self.secrets.find(self.account_secrets[1]).secret,
            limiter=self._limiter,
            rate_per_second=self.tuning.st_rate_per_second,
            tokens_folder=self.home.tokens if cached_token else None,
            timeout_seconds=self.tuning.st_timeout_seconds,
            retry=self._retry_for(api_url),
        )

    def open_crm_afresh(
        self, proof: Proof, secret: Secret
    ) -> AbstractAsyncContextManager[CrmGateway]:
        """With a token fetched now, whatever is kept."""
        return self.open_crm(proof, secret, cached_token=False)

    @property
    def longest_pause_seconds(self) -> float:
        """How long a server that complained is still to be left alone."""
        return self._limiter.longest_pause_seconds()

    def worker(self, campaign: CampaignName) -> tuple[str, datetime] | None:
        """Which process is at work on a campaign, and since when."""
        holder = self.locks.working(campaign)
        if holder is None:
            return None
        process = holder.process
        return f"process {process.pid} on {process.host} ({holder.kind})", holder.since

    def ask_briefly(self, *, patience_seconds: float | None = None) -> None:
        """From now on two attempts for each request: whoever looks on wants an answer soon. What a
        server asks to wait is waited for no longer than ``patience_seconds``."""
        self._attempts = 2
        self._patience_seconds = patience_seconds

    def _retry_for(self, url: str) -> RetryPolicy:
        """One for each system, so that what is down for one pass is not waited for in every other."""
        from stcli.clients.retry import RetryPolicy

        policy = RetryPolicy()
        policy.attempts = self._attempts or policy.attempts
        policy.total_seconds = self._patience_seconds or policy.total_seconds
        return self._retries.setdefault(url, policy)

    def crm_for(
        self, campaign: CampaignName, config: CampaignConfig
    ) -> AbstractAsyncContextManager[CrmGateway]:
        """ServiceTitan as the campaign file describes it."""
        proof = config.proof
        if proof is None:
            raise NotConnected(f"{campaign} is not finalized", f"Run: stcli finalize {campaign}")
        return self.open_crm(proof, self.find_client_secret(campaign, proof).secret)

    # What the connection's steps need

    def exists(self, name: CampaignName) -> bool:
        return self.files.exists(name)

    def settings_of(self, name: CampaignName) -> CampaignConfig:
        return self.files.load(name).config

    def settings_in(self, file: Path) -> CampaignConfig:
        """The settings in a campaign file that lies anywhere."""
        from stcli.config.load import load_campaign

        return load_campaign(file, file.stem).config

    def begin(
        self, name: CampaignName, *, referral_campaign: str, tenant_id: int, environment: str
    ) -> None:
        self.files.begin(
            name,
            referral_campaign=referral_campaign,
            tenant_id=tenant_id,
            environment=environment,
        )

    def change(self, name: CampaignName, values: Mapping[tuple[str | int, ...], object]) -> str:
        return self.files.change(name, values)

    def remove(self, name: CampaignName) -> None:
        self.files.remove(name)

    def forget(self, campaign: CampaignName, proof: Proof) -> str:
        """Forget a stored client secret and the token that came of it; answers what could not be."""
        from stcli.clients.servicetitan.token_cache import TokenCache

        request = self.client_secret_request(campaign, proof)
        try:
            secret = self.secrets.find(request).secret
        except (CredentialsMissing, CredentialsUnusable):
            return self.secrets.forget(request)
        auth_url = self.tuning.st_urls(proof.environment)[1]
        TokenCache(self.home.tokens, auth_url, proof.client_id, secret).forget()
        return self.secrets.forget(request)

    def disconnect(self, name: CampaignName, *, purge: bool) -> tuple[Connection, str]:
        """Give a connection up; answers also what could not be forgotten. ``Locked`` while a pass of
        the campaign runs: it would go on writing, and a purge would forget what it asked for."""
        from stcli.usecases.connection import disconnect

        with self.locks.hold(name, "disconnect"):
            return disconnect(
                name,
                purge=purge,
                connections=self.state.connections,
                files=self,
                grants=self,
                actor=self.actor,
                now=self.now(),
            )

    def request_text(self, request: Request) -> str:
        """The exact body that would be sent, indented."""
        import msgspec

        from stcli.clients.referralfactory.wire import new_referrer_request
        from stcli.clients.servicetitan.wire import booking_request, custom_fields_request
        from stcli.usecases.preview import FieldWrites, NewReferrer

        match request:
            case NewReferrer():
                body = new_referrer_request(
                    request.campaign, request.values, welcome_mail=request.welcome_mail
                )
            case FieldWrites():
                body = custom_fields_request(request.values)
            case _:
                body = booking_request(request)
        return msgspec.json.format(body, indent=2).decode()

    def reset_sync(self, name: CampaignName, *, discard_lost_fields: bool = False) -> None:
        """Let the next sync begin anew; ``Locked`` while a pass of the campaign runs."""
        from stcli.usecases.sync import reset

        reset(
            name,
            self.settings_of(name),
            self.state,
            self.locks,
            discard_lost_fields=discard_lost_fields,
        )

    # Passes

    # What runs it unattended

    @property
    def schedule_name(self) -> str:
        from stcli.scheduling.job import schedule_name

        return schedule_name(self.home.config, is_default=not self._environment.get("STCLI_HOME"))

    @cached_property
    def schedules(self) -> Schedules:
        import getpass

        from stcli.scheduling.crontab import Crontab
        from stcli.scheduling.schedules import Schedules
        from stcli.scheduling.systemd_units import SystemdUser

        try:
            user = getpass.getuser()
        except (OSError, KeyError):
            user = ""
        return Schedules((SystemdUser(self._environment, user), Crontab(self._environment)))

    @property
    def secrets_in_this_shell(self) -> list[str]:
        """Variables with secrets, which no schedule carries."""
        from stcli.scheduling.job import secrets_in

        return secrets_in(self._environment)

    def as_scheduled(self, program: tuple[str, ...], words: Sequence[str]) -> AsScheduled:
        """What a command prints where the installed schedule runs it: with what stands there, not
        with what would be written now. Without one, as cron would run what would be."""
        from stcli.scheduling.bare import as_cron, as_service
        from stcli.scheduling.job import Remark

        there = self.schedules.installed(self.schedule_name)
        if not there:
            job = self.scheduled_job(program, (), None)
            none = Remark(
                "none is installed; this is what one installed from this shell would find",
                "Run: stcli schedule install",
            )
            return AsScheduled("cron", as_cron(job.program, words, job.environment), none)
        one = there[0]
        if not one.program:
            raise StateError(
                f"what {one.scheduler} calls is not what stcli wrote ({one.place})",
                "Bring it up to date: stcli schedule install",
            )
        remark = None
        if one.scheduler == "systemd":
            reason = self.schedules.of("systemd").unavailable()
            if not reason:
                output = as_service(self.schedule_name, one.program, words, self._environment)
                return AsScheduled("systemd", output)
            remark = Remark(
                f"{reason}, so neither drop-ins nor credentials of the service were looked at",
                "Ask again where systemd serves this user.",
            )
        variables = {**one.surroundings, **one.environment}
        return AsScheduled(one.scheduler, as_cron(one.program, words, variables), remark)

    def kept_variables(self, before: Installed | None) -> dict[str, str]:
        """What a schedule carries and this shell does not know of."""
        from stcli.scheduling.job import kept

        return kept(before, self._environment) if before is not None else {}

    def scheduled_job(
        self,
        program: tuple[str, ...],
        campaigns: tuple[str, ...],
        cadence: str | None,
        before: Installed | None = None,
    ) -> Job:
        """What a scheduler is to call for this home; of the schedule ``before`` it stays what this
        shell does not know of."""
        from stcli.scheduling.job import DEFAULT_CADENCE, Job, carried

        home = Path(os.path.realpath(self.home.config))
        environment = self.kept_variables(before) | dict(self._environment)
        if environment.get("STCLI_HOME"):
            environment["STCLI_HOME"] = str(home)
        by_name = any("/" not in secret.command[0] for secret in self.settings.secrets.values())
        return Job(
            name=self.schedule_name,
            home=home,
            program=program,
            campaigns=campaigns,
            environment=carried(environment, with_path=by_name),
            cadence=cadence or DEFAULT_CADENCE,
        )

    def accept_file(self, name: CampaignName) -> bool:
        """Let every host run with this host's file of a campaign; answers whether that had to be said:
        a state that no other host shares runs with whatever file is here."""
        if not self.place.is_shared:
            return False
        file_hash = self.files.load(name).file_hash
        self.state.accepted.accept(name, file_hash, self.now(), self.actor)
        return True

    def other_file(self, name: CampaignName, file_hash: str) -> Accepted | None:
        """The file that all hosts are to run with, where it is not this one."""
        if not self.place.is_shared or not self.has_state:
            return None
        return self.state.accepted.other_than(name, file_hash)

    def subject(self, name: CampaignName) -> Subject:
        from stcli.usecases.passes.subject import Subject

        loaded = self.files.load(name)
        return Subject(name, loaded.config, loaded.verdicts, loaded.problems, loaded.file_hash)

    def passes_of(self, subject: Subject) -> list[PassKind]:
        """The passes that ``run`` runs for a campaign."""
        from stcli.usecases.passes.subject import passes_in_use, tenant_key

        progress = self.state.enrolments.progress(subject.name)
        # What was imported from another tenant is no import of this one.
        is_own = progress.tenant == tenant_key(subject.config)
        return passes_in_use(
            subject.config, is_imported=is_own and progress.imported_at is not None
        )

    def is_young(self, kind: PassKind, subject: Subject, seconds: float) -> bool:
        """Whether this pass ended well so lately that one every so many seconds is not due. A tenth,
        or half an hour, is allowed for, because schedulers are not exact; times ahead of the clock
        do not count."""
        now = self.now()
        since = now - timedelta(seconds=seconds - min(seconds / 10, 1800.0))
        return kind.value in self.state.runs.done_since(subject.name, since, now)

    async def run_passes(
        self,
        wanted: Sequence[tuple[PassKind, Subject]],
        options: PassOptions,
        stop: StopSignal,
        on_result: Callable[[PassResult], None],
        *,
        keep_going: bool,
        progress: Progress | None = None,
    ) -> None:
        """Run these passes one after the other; ``keep_going`` turns what keeps one from starting
        into its result instead of raising it."""
        from stcli.domain.outcome import PassKind
        from stcli.processes import this_process
        from stcli.usecases.passes.concurrency import StateThread
        from stcli.usecases.passes.context import Rates
        from stcli.usecases.passes.progress import Unwatched
        from stcli.usecases.passes.runner import (
            Passes,
            Systems,
            counts_max_age,
            not_started,
        )
        from stcli.usecases.passes.subject import refuse_unready

        if not keep_going:
            for kind, subject in wanted:
                # Before any secret is looked for: what is missing first is said first.
                refuse_unready(self.state.connections.get(subject.name), subject, kind)
        me = this_process(self._environment)
        in_state = StateThread()
        try:
            with self._workplace(dry_run=options.dry_run) as workplace:
                async with self.open_referral() as referral:
                    passes = Passes(
                        {kind for kind, _ in wanted},
                        workplace=workplace,
                        systems=Systems(self.crm_for, referral, _ACCOUNT),
                        in_state=in_state,
                        stop=stop,
                        me=me,
                        actor=self.actor,
                        now=self.now,
                        doubt_seconds=self._doubt_seconds,
                        rates=Rates(
                            self.tuning.st_rate_per_second, self.tuning.rf_rate_per_minute / 60
                        ),
                        progress=progress or Unwatched(),
                        counts_max_age=counts_max_age(
                            subject.config for kind, subject in wanted if kind is PassKind.RETURN
                        ),
                    )
                    for number, (kind, subject) in enumerate(wanted):
                        try:
                            if keep_going or number:
                                stop.check()
                            result = await passes.run(kind, subject, options)
                        except StcliError as error:
                            # What an earlier pass of this run did must be told all the same.
                            if not keep_going and not number:
                                raise
                            result = not_started(
                                kind, subject.name, error, self.now(), dry_run=options.dry_run
                            )
                        on_result(result)
                        if stop.reason is not None and result.error is stop.reason:
                            break
        finally:
            in_state.close()

    @property
    def _doubt_seconds(self) -> float:
        """How long an unanswered write may still take effect, by the clock of whichever host looks."""
        if not self.place.is_shared:
            return self.tuning.st_timeout_seconds
        from stcli.store.postgres import CLOCKS_MAY_DIFFER_SECONDS

        return self.tuning.st_timeout_seconds + 2 * CLOCKS_MAY_DIFFER_SECONDS

    @contextmanager
    def _workplace(self, *, dry_run: bool) -> Iterator[Workplace]:
        """The real state, or for a dry run a private copy that is thrown away."""
        from stcli.usecases.passes.runner import Workplace

        if not dry_run:
            yield Workplace(self.state, self.locks, self._sent_marks)
            return
        # Opening the real state first brings it to this version's schema, or says why it cannot be.
        with self.place.thrown_away() as state:
            yield Workplace(state, self._locks(state.database), self._sent_marks)

    @property
    def _sent_marks(self) -> SentMarks:
        from stcli.store.sent_marks import SentMarks

        if (database := self._server) is None:
            return SentMarks(self.home.limits)
        from stcli.store.identity import history_began

        return SentMarks(self.home.limits, lambda: history_began(database))

    @property
    def locks(self) -> Locks:
        """The locks of this home's state."""
        return self._locks(self.state.database)

    def _locks(self, database: Database) -> Locks:
        from stcli.processes import is_alive, this_process
        from stcli.store.locks import Locks

        return Locks(database, this_process(self._environment), is_alive, self.now)
