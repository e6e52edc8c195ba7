"""``stcli auth``: the two secrets of the account."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from stcli.cli.output import emit, note, pairs, table
from stcli.cli.session import application
from stcli.errors import CredentialsMissing, CredentialsUnusable, ExitCode

auth = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="The account's secrets: Referral Factory token, ServiceTitan app key.",
    rich_markup_mode="rich",
)
APPS = {"auth": auth}

JsonFlag = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
InsecureFlag = Annotated[
    bool,
    typer.Option(
        "--insecure-storage",
        help="Keep secrets in a file that only you can read, instead of the keyring.",
    ),
]


@auth.command(epilog="Example: stcli auth login")
def login(
    context: typer.Context,
    insecure_storage: InsecureFlag = False,
    rf_token_stdin: Annotated[
        bool, typer.Option("--rf-token-stdin", help="Read the Referral Factory token from stdin.")
    ] = False,
    st_app_key_stdin: Annotated[
        bool,
        typer.Option(
            "--st-app-key-stdin", help="Read the app key from stdin (after the token, if both)."
        ),
    ] = False,
    as_json: JsonFlag = False,
) -> int:
    """Store the token and the app key; the token is tried before it is kept.

    What a variable, a file, a systemd credential or a command gives is used as it is and never
    stored. The app key is proven by the first finalize.
    """
    from stcli.cli import running
    from stcli.cli.prompts import ask_secret, secret_from_stdin
    from stcli.usecases.account import prove_token

    with application(context) as app:
        told: dict[str, str] = {}
        rf_token, app_key = app.account_secrets
        for request, from_stdin, flag in (
            (rf_token, rf_token_stdin, "--rf-token-stdin"),
            (app_key, st_app_key_stdin, "--st-app-key-stdin"),
        ):
            given = None if from_stdin else app.secrets.given(request)
            if given is not None:
                secret = given.secret
            elif from_stdin:
                app.secrets.check_storable(insecure=insecure_storage)
                secret = secret_from_stdin(request.label)
            elif (rf_token_stdin or st_app_key_stdin) and not from_stdin:
                continue
            else:
                app.secrets.check_storable(insecure=insecure_storage)
                secret = ask_secret(
                    request.label, f"Pipe it in with {flag}, or set {request.variables[0]}."
                )
            if request is rf_token:
                number = running.ask(partial(prove_token, app.open_referral(secret)))
                note(f"Referral Factory accepted the token: {number} campaigns.")
            told[request.key] = (
                given.source
                if given is not None
                else app.secrets.store(request, secret, insecure=insecure_storage)
            )
    emit(
        {"schema_version": 1, "stored": told},
        lambda: pairs(told),
        as_json=as_json,
    )
    return ExitCode.DONE


@auth.command(epilog="Example: stcli auth status")
def status(context: typer.Context, as_json: JsonFlag = False) -> int:
    """Where each secret comes from; the secrets themselves are never shown."""

    rows: list[tuple[str, str, str]] = []
    with application(context) as app:
        for request in app.account_secrets:
            try:
                rows.append((request.label, "found", app.secrets.find(request).source))
            except (CredentialsMissing, CredentialsUnusable) as error:
                rows.append((request.label, "missing", error.message))
    emit(
        {
            "schema_version": 1,
            "secrets": [
                {"secret": label, "status": state, "source": source}
                for label, state, source in rows
            ],
        },
        lambda: table(("SECRET", "STATUS", "SOURCE"), rows),
        as_json=as_json,
    )
    found = all(row[1] == "found" for row in rows)
    return ExitCode.DONE if found else ExitCode.NOT_CONNECTED


@auth.command(epilog="Example: stcli auth logout --yes")
def logout(
    context: typer.Context,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> int:
    """Forget the stored token and app key; what variables or files give is not touched."""
    from stcli.cli.prompts import confirm

    confirm("Forget the Referral Factory token and the ServiceTitan app key?", yes=yes)
    with application(context) as app:
        for request in app.account_secrets:
            left = app.secrets.forget(request)
            if left:
                note(f"The keyring was not asked to forget the {request.label}: {left}.")
    note("Forgotten. Campaigns stay connected, and their passes end with 4 until you log in again.")
    return ExitCode.DONE
