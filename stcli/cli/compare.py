"""``stcli diff`` and ``copy``: two campaigns side by side, and one begun from another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stcli.cli.arguments import AsJson, Campaign, filled
from stcli.cli.output import emit, line, note, table
from stcli.cli.session import application, update_schema
from stcli.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from stcli.domain.campaign import CampaignConfig
    from stcli.wiring import Application

diff_app = typer.Typer(add_completion=False)
copy_app = typer.Typer(add_completion=False)
APPS = {"diff": diff_app, "copy": copy_app}


@diff_app.command("diff", epilog="Example: stcli diff spring-hvac autumn-hvac")
def diff(
    context: typer.Context,
    campaign: Campaign,
    other: Annotated[str, typer.Argument(metavar="OTHER|FILE", help="A campaign, or a file.")],
    as_json: AsJson = False,
) -> int:
    """What differs between the settings of two campaigns, defaults filled in."""
    from stcli.usecases.compare import differences

    with application(context) as app:
        found = differences(_settings(app, campaign), _settings(app, other))

    def render() -> None:
        if not found:
            line(f"{campaign} and {other} say the same.")
            return
        table(
            ("SETTING", campaign, Path(other).name),
            [(d.path, d.first or "-", d.second or "-") for d in found],
        )

    emit(
        {
            "schema_version": 1,
            "campaign": campaign,
            "other": other,
            "differences": [
                {"path": d.path, "campaign": d.first, "other": d.second} for d in found
            ],
        },
        render,
        as_json=as_json,
    )
    return ExitCode.DONE


def _settings(app: Application, word: str) -> CampaignConfig:
    """The settings of a campaign of this home, or of a file anywhere."""
    from stcli.domain.ids import CampaignName

    file = Path(word)
    if file.suffix in (".yaml", ".yml") or "/" in word:
        if not _is_there(file):
            raise UsageError(f"there is no file {word}", "Give a campaign's name, or a file.")
        return app.settings_in(file)
    from stcli.paths import campaign_name

    return app.settings_of(CampaignName(campaign_name(word)))


def _is_there(file: Path) -> bool:
    try:
        return file.exists()
    except OSError:
        # A name that no file can have.
        return False


@copy_app.command("copy", epilog="Example: stcli copy spring-hvac autumn-hvac")
def copy(
    context: typer.Context,
    campaign: Campaign,
    new: Annotated[str, typer.Argument(metavar="NEW", help="The new campaign's local name.")],
    referral_campaign: Annotated[
        str | None,
        typer.Option(
            "--referral-campaign",
            metavar="CODE_OR_ID",
            help="Left out: the same as NEW.",
            callback=filled,
        ),
    ] = None,
    tenant_id: Annotated[
        int | None, typer.Option("--tenant-id", min=1, metavar="ID", help="Left out: the same.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Begin a campaign with another one's settings. It books, enrols and qualifies nobody yet."""
    from stcli.domain.ids import CampaignName
    from stcli.paths import campaign_name

    with application(context) as app:
        source, target = CampaignName(campaign_name(campaign)), CampaignName(campaign_name(new))
        app.files.copy(
            source, target, referral_campaign=referral_campaign or target, tenant_id=tenant_id
        )
        update_schema(app)
        config = app.settings_of(target)
        method = app.settings_of(source).qualification.method
        path = app.files.path(target)
    emit(
        {"schema_version": 1, "campaign": target, "copied_from": source, "path": path},
        lambda: line(f"{target}: {path}"),
        as_json=as_json,
    )
    note(f"Connect it: stcli connect {target} --tenant-id {config.servicetitan.tenant_id}")
    if method is not config.qualification.method:
        note(f"It qualifies nobody until: stcli qualify set {target} --method {method}")
    if config.sync is not None:
        note(
            "Its sync enrols nobody until sync.limits.max_creates is raised from 0: "
            f"stcli sync setup {target} --max-creates N"
        )
    return ExitCode.DONE
