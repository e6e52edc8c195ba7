"""``stcli config``: where the settings are, and whether they are valid."""

from __future__ import annotations

import typer

from stcli.cli.arguments import AsJson, OptionalCampaign
from stcli.cli.config_edit import edit
from stcli.cli.config_upgrade import upgrade
from stcli.cli.output import emit, line, pairs
from stcli.cli.session import application, chosen_campaign
from stcli.errors import ExitCode

config = typer.Typer(
    add_completion=False, no_args_is_help=True, help="The campaign file and the settings."
)
APPS = {"config": config}


@config.command(epilog="Example: stcli config path")
def path(context: typer.Context, campaign: OptionalCampaign = None, as_json: AsJson = False) -> int:
    """Where the files of this home are."""
    with application(context) as app:
        home = app.home
        places = {
            "settings": str(home.settings_file),
            "campaigns": str(home.campaigns),
            "state": app.place.name,
            "log": str(home.log_file),
        }
        if campaign is not None:
            places["campaign"] = app.files.path(chosen_campaign(app, campaign))
    emit(
        {"schema_version": 1, "paths": places},
        lambda: pairs(places),
        as_json=as_json,
    )
    return ExitCode.DONE


@config.command(epilog="Example: stcli config show spring-hvac")
def show(context: typer.Context, campaign: OptionalCampaign = None, as_json: AsJson = False) -> int:
    """What the campaign file says, with all defaults filled in."""
    import yaml

    with application(context) as app:
        settings = app.settings_of(chosen_campaign(app, campaign))
    values = settings.model_dump(mode="json", by_alias=True, exclude_none=True)
    emit(
        {"schema_version": 1, "settings": values},
        lambda: line(yaml.safe_dump(values, sort_keys=False, allow_unicode=True).rstrip()),
        as_json=as_json,
    )
    return ExitCode.DONE


config.command(epilog="Example: EDITOR=nano stcli config edit spring-hvac")(edit)


@config.command(epilog="Example: stcli config schema > campaign.schema.json")
def schema() -> int:
    """The JSON Schema of campaign files, which editors use to complete and to check."""
    from stcli.wiring import campaign_schema_text

    line(campaign_schema_text().rstrip())
    return ExitCode.DONE


config.command(epilog="Example: stcli config upgrade --dry-run")(upgrade)


@config.command(epilog="Example: stcli config validate spring-hvac")
def validate(
    context: typer.Context, campaign: OptionalCampaign = None, as_json: AsJson = False
) -> int:
    """Whether the campaign file and the settings can be read; map validate also says if it can run."""
    with application(context) as app:
        name = chosen_campaign(app, campaign)
        _ = app.settings
        app.files.load(name)
    emit(
        {"schema_version": 1, "campaign": name, "valid": True},
        lambda: line(f"{name}: valid"),
        as_json=as_json,
    )
    return ExitCode.DONE
