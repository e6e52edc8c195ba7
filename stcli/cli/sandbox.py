"""``stcli sandbox serve`` and ``stcli demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stcli.cli.output import line, note
from stcli.errors import ExitCode, UsageError
from stcli.paths import write_private

sandbox = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Both APIs on this machine, to try things out."
)
demo_app = typer.Typer(add_completion=False)
APPS = {"sandbox": sandbox, "demo": demo_app}


@sandbox.callback()
def _sandbox() -> None:
    """Both APIs on this machine, to try things out."""


@sandbox.command(epilog="Example: stcli sandbox serve --port 8765")
def serve(
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="0 finds a free one.")
    ] = 8765,
    host: Annotated[str, typer.Option("--host", help="This machine only.")] = "127.0.0.1",
    leads: Annotated[int, typer.Option("--leads", min=0, help="How many leads to make up.")] = 12,
    customers: Annotated[
        int, typer.Option("--customers", min=0, help="How many customers to make up.")
    ] = 24,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same people.")] = 1,
    feed_lag: Annotated[
        float, typer.Option("--feed-lag", min=0, help="Seconds until a feed shows a change.")
    ] = 60.0,
    newest_first: Annotated[
        bool, typer.Option("--newest-first", help="Order of Referral Factory's user list.")
    ] = False,
    env_file: Annotated[
        Path | None,
        typer.Option(
            "--env-file", help="Also write addresses and secrets to this file, for a shell to read."
        ),
    ] = None,
) -> int:
    """Serve Referral Factory and ServiceTitan on loopback until Ctrl-C.

    Prints the variables that point stcli at it, and the secrets it accepts.
    """
    from stcli.sandbox.server import Addresses
    from stcli.sandbox.server import serve as serve_forever
    from stcli.sandbox.settings import Credentials, SandboxSettings

    settings = SandboxSettings(
        seed=seed,
        leads=leads,
        customers=customers,
        feed_lag_seconds=feed_lag,
        rf_users_order="newest" if newest_first else "oldest",
    )
    known = Credentials.from_seed(seed)

    def ready(addresses: Addresses) -> None:
        for name, value in addresses.environment().items():
            line(f"export {name}={value}")
        line(f"# Referral Factory token: {known.rf_token}   app key: {known.app_key}")
        line(f"# tenant id: {known.tenant_id}   campaign: spring-hvac")
        line(f"# client id: {known.client_id}   client secret: {known.client_secret}")
        line(f"# booking provider value: {known.booking_provider}")
        line(
            f"# move the world on: POST {addresses.control_url}/bookings/ID/convert, /jobs/ID/status"
        )
        if env_file is not None:
            secrets = {
                "STCLI_RF_TOKEN": known.rf_token,
                "STCLI_ST_APP_KEY": known.app_key,
                "STCLI_ST_CLIENT_SECRET": known.client_secret,
            }
            shown = {
                "SANDBOX_CLIENT_ID": known.client_id,
                "SANDBOX_BOOKING_PROVIDER": str(known.booking_provider),
            }
            values = {**addresses.environment(), **secrets, **shown}
            text = "".join(f"export {name}={value}\n" for name, value in values.items())
            write_private(env_file, text)
            note(f"Read them into a shell with: . {env_file}")
        note("Serving; Ctrl-C ends it.")
        import sys

        sys.stdout.flush()

    try:
        serve_forever(settings, host, port, ready)
    except OSError as error:
        raise UsageError(
            f"port {port} cannot be used: {error.strerror}", "Choose another one with --port."
        ) from None
    except ValueError as error:
        raise UsageError(str(error), "Leave --host out.") from None
    return ExitCode.DONE


@demo_app.command("demo", epilog="Example: stcli demo")
def demo() -> int:
    """The whole story on the sandbox, in a throw-away home; nothing of yours is touched."""
    from stcli.cli.demonstration import run_demo

    return run_demo()
