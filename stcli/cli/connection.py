"""``stcli connect``, ``finalize`` and ``disconnect``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from stcli.cli.arguments import AsJson, Campaign, OptionalCampaign, Yes, filled
from stcli.cli.output import emit, line, note
from stcli.cli.session import application, update_schema
from stcli.domain.connection import Environment
from stcli.errors import ApiError, CredentialsMissing, ExitCode

if TYPE_CHECKING:
    from stcli.domain.connection import Connection, Proof
    from stcli.domain.ids import CampaignName
    from stcli.domain.secret import Secret
    from stcli.wiring import Application

connect_app, finalize_app, disconnect_app = (
    typer.Typer(add_completion=False),
    typer.Typer(add_completion=False),
    typer.Typer(add_completion=False),
)
APPS = {"connect": connect_app, "finalize": finalize_app, "disconnect": disconnect_app}


def _show(connection: Connection, text: str, *, as_json: bool) -> int:
    document = {
        "schema_version": 1,
        "campaign": connection.campaign,
        "connection": connection.shown_state.value,
        "tenant_id": connection.tenant_id,
        "environment": connection.environment.value,
    }
    emit(document, lambda: line(text), as_json=as_json)
    return ExitCode.DONE


@connect_app.command(epilog="Example: stcli connect spring-hvac --tenant-id 985798691")
def connect(
    context: typer.Context,
    campaign: Campaign,
    tenant_id: Annotated[
        str, typer.Option("--tenant-id", metavar="ID", help="ServiceTitan's tenant id: digits.")
    ],
    referral_campaign: Annotated[
        str | None,
        typer.Option(
            "--referral-campaign",
            metavar="CODE_OR_ID",
            help="The campaign in Referral Factory; without it, the same name.",
            callback=filled,
        ),
    ] = None,
    environment: Annotated[
        Environment, typer.Option("--environment", help="Where the tenant lives.")
    ] = Environment.PRODUCTION,
    as_json: AsJson = False,
) -> int:
    """Submit the request to connect a campaign to a ServiceTitan tenant.

    Writes the campaign file if there is none, with every action switched off.
    """
    from stcli.cli.session import chosen_campaign
    from stcli.usecases import connection as steps

    with application(context) as app:
        name = chosen_campaign(app, campaign)
        tenant = steps.parse_tenant_id(tenant_id)
        _check_campaign(app, name, referral_campaign)
        done = steps.connect(
            name,
            tenant,
            referral_campaign=referral_campaign,
            environment=environment,
            connections=app.state.connections,
            files=app,
            actor=app.actor,
            now=app.now(),
        )
        if done.file_begun:
            note(f"Campaign file: {app.files.path(name)}")
            update_schema(app)
        state = done.connection.state.value
        text = (
            f"{name}: {state}. The owner of the ServiceTitan app approves it with: "
            f"stcli requests approve {name}"
            if done.is_new
            else f"{name} is {state} with this tenant already; nothing was changed."
        )
        return _show(done.connection, text, as_json=as_json)


def _check_campaign(app: Application, name: CampaignName, identifier: str | None) -> None:
    """Refuse a campaign that Referral Factory does not have, where a token allows to ask."""
    from stcli.cli import running
    from stcli.errors import CredentialsUnusable
    from stcli.usecases.connection import check_referral_campaign

    if app.files.exists(name) and identifier is None:
        return
    try:
        token = app.secrets.find(app.account_secrets[0]).secret
    except (CredentialsMissing, CredentialsUnusable):
        note("Referral Factory was not asked whether it has this campaign: stcli auth login")
        return

    async def check() -> None:
        async with app.open_referral(token) as referral:
            await check_referral_campaign(identifier or name, referral)

    try:
        running.ask(check)
    except ApiError as error:
        # Asking is a service; the request does not need Referral Factory.
        note(f"Whether Referral Factory has this campaign is not known: {error.message}")


@finalize_app.command(epilog="Example: stcli finalize spring-hvac --client-id cid.8f3k")
def finalize(
    context: typer.Context,
    campaign: OptionalCampaign = None,
    client_id: Annotated[
        str | None, typer.Option("--client-id", metavar="ID", help="From the Application Details.")
    ] = None,
    booking_provider: Annotated[
        str | None,
        typer.Option(
            "--booking-provider", metavar="VALUE", help="The allowed booking_provider value."
        ),
    ] = None,
    client_secret_stdin: Annotated[
        bool, typer.Option("--client-secret-stdin", help="Read the client secret from stdin.")
    ] = False,
    insecure_storage: Annotated[
        bool,
        typer.Option(
            "--insecure-storage", help="Keep the secret in a file that only you can read."
        ),
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Prove client id, client secret, app key, tenant and booking provider; then store them.

    Prompts for what is missing. On a connected campaign it replaces the values after proof.
    """
    from stcli.cli import running
    from stcli.cli.session import chosen_campaign
    from stcli.domain.connection import Step
    from stcli.usecases import connection as steps

    with application(context) as app:
        name = chosen_campaign(app, campaign)
        before = app.state.connections.get(name)
        steps.refuse_unless(before, Step.FINALIZE)
        app.secrets.find(app.account_secrets[1])
        proof = _asked_proof(app, name, client_id, booking_provider)
        steps.refuse_other_tenant(before, proof)
        secret, is_given = _client_secret(
            app, name, proof, from_stdin=client_secret_stdin, insecure=insecure_storage
        )
        remark = running.ask(
            lambda: steps.prove(proof, secret, lambda p, s: app.open_crm(p, s, cached_token=False))
        )
        if remark:
            note(remark)
        if not is_given:
            place = app.secrets.store(
                app.client_secret_request(name, proof), secret, insecure=insecure_storage
            )
            note(f"Client secret: {place}")
        connection = steps.finish(
            name,
            proof,
            connections=app.state.connections,
            files=app,
            actor=app.actor,
            now=app.now(),
        )
        if app.accept_file(name):
            note(f"Every host runs with this file from now on; deploy it: {app.files.path(name)}")
        text = (
            f"{name}: connected. Next, map the fields and switch an action on: "
            f"stcli map fields {name}; stcli action {name} leads create_booking"
        )
        return _show(connection, text, as_json=as_json)


def _asked_proof(
    app: Application, name: CampaignName, client_id: str | None, booking_provider: str | None
) -> Proof:
    from stcli.cli.prompts import ask
    from stcli.domain.connection import Proof
    from stcli.domain.ids import TenantId
    from stcli.usecases.connection import parse_provider

    settings = app.settings_of(name).servicetitan
    # The file knows them where the state was lost, or where only the secret is to be replaced.
    client = client_id or ask("Client ID", "Add --client-id ID.", known=settings.client_id or "")
    provider = booking_provider or ask(
        "Booking Provider Value",
        "Add --booking-provider VALUE.",
        known=str(settings.booking_provider or ""),
    )
    return Proof(
        environment=settings.environment,
        tenant_id=TenantId(settings.tenant_id),
        client_id=client.strip(),
        booking_provider=parse_provider(provider),
    )


def _client_secret(
    app: Application, name: CampaignName, proof: Proof, *, from_stdin: bool, insecure: bool
) -> tuple[Secret, bool]:
    """The secret, and whether it came from a source that is never copied."""
    from stcli.cli.prompts import ask_secret, secret_from_stdin

    request = app.client_secret_request(name, proof)
    given = None if from_stdin else app.secrets.given(request)
    if given is not None:
        note(f"Client secret: {given.source}")
        return given.secret, True
    app.secrets.check_storable(insecure=insecure)
    if from_stdin:
        return secret_from_stdin(request.label), False
    return (
        ask_secret(
            "Client Secret", "Pipe it in with --client-secret-stdin, or set STCLI_ST_CLIENT_SECRET."
        ),
        False,
    )


@disconnect_app.command(epilog="Example: stcli disconnect spring-hvac --yes")
def disconnect(
    context: typer.Context,
    campaign: OptionalCampaign = None,
    yes: Yes = False,
    purge: Annotated[
        bool,
        typer.Option("--purge", help="Also forget the mappings, the history and who was booked."),
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Give a campaign's connection up; mappings and history are kept unless --purge.

    Not while a pass of the campaign runs.
    """
    from stcli.cli.prompts import confirm
    from stcli.cli.session import chosen_campaign
    from stcli.domain.connection import Step
    from stcli.usecases import connection as steps

    with application(context) as app:
        name = chosen_campaign(app, campaign)
        steps.refuse_unless(app.state.connections.get(name), Step.DISCONNECT)
        if purge:
            note(
                "Warning: --purge also forgets who was booked. Connected again, only bookings "
                "that ServiceTitan still shows keep these people from being booked twice."
            )
        confirm(f"Disconnect {name}?", yes=yes)
        connection, left = app.disconnect(name, purge=purge)
        if left:
            note(f"The keyring was not asked to forget the client secret: {left}.")
        return _show(connection, f"{name}: disconnected.", as_json=as_json)
