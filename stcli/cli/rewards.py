"""``stcli rewards``: what qualifications made due in Referral Factory; read only."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from stcli.cli.arguments import AsJson
from stcli.cli.output import emit, line, note, table
from stcli.cli.session import application
from stcli.domain.records import REWARD_METRICS
from stcli.errors import ExitCode
from stcli.usecases.report import SCHEMA_VERSION

if TYPE_CHECKING:
    from stcli.domain.records import DueReward, Person
    from stcli.wiring import Application

rewards = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="What qualifications made due in Referral Factory.",
)
APPS = {"rewards": rewards}


PATIENCE_SECONDS = 10.0
"""How long a pause that Referral Factory asks for is waited for: somebody looks on."""


class Metric(StrEnum):
    AMOUNT = "amount"
    COMMISSION = "commission"
    COUPON = "coupon"
    CUSTOM = "custom"


@rewards.command(epilog="Example: stcli rewards due --metric amount")
def due(
    context: typer.Context,
    metric: Annotated[Metric | None, typer.Option("--metric", help="Only this kind.")] = None,
    as_json: AsJson = False,
) -> int:
    """Rewards owed and not yet issued, of all campaigns; issuing is Referral Factory's affair.

    Recipients are told by the code of whoever is known here from earlier passes.
    """
    from stcli.cli import running
    from stcli.usecases.account import due_rewards

    wanted = (metric.value,) if metric is not None else REWARD_METRICS
    with application(context) as app:
        app.ask_briefly(patience_seconds=PATIENCE_SECONDS)
        found = running.ask(lambda: due_rewards(app.open_referral(), wanted))
        rows = [(reward, _recipient(app, reward)) for reward in found]
    emit(
        {
            "schema_version": SCHEMA_VERSION,
            "rewards": [
                {
                    "id": reward.id,
                    "metric": reward.metric,
                    "reward_id": reward.reward_id,
                    "recipient_id": reward.recipient_id,
                    "recipient_code": None if person is None else person.code,
                    "can_be_issued": reward.can_be_issued,
                    "coupon": reward.coupon,
                    "count": reward.count,
                    "total": reward.total,
                }
                for reward, person in rows
            ],
        },
        lambda: _show(rows),
        as_json=as_json,
    )
    if not rows:
        note("No reward is due.")
    return ExitCode.DONE


# A group of one command would lose the word "due": this callback keeps it.
@rewards.callback()
def _rewards() -> None:
    """What qualifications made due in Referral Factory."""


def _recipient(app: Application, reward: DueReward) -> Person | None:
    return app.state.people.get(reward.recipient_id) if app.has_state else None


def _show(rows: list[tuple[DueReward, Person | None]]) -> None:
    if not rows:
        return
    table(
        ("ID", "METRIC", "RECIPIENT", "COUNT", "TOTAL", "COUPON", "CAN BE ISSUED"),
        [
            (
                reward.id,
                reward.metric,
                reward.recipient_id if person is None else person.code,
                reward.count,
                f"{reward.total:.2f}",
                reward.coupon,
                "yes" if reward.can_be_issued else "no",
            )
            for reward, person in rows
        ],
    )
    for metric in REWARD_METRICS:
        some = [reward for reward, _ in rows if reward.metric == metric]
        if some:
            line(f"{metric}: {len(some)} due, {sum(reward.total for reward in some):.2f} in all")
