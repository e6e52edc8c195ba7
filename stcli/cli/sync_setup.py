"""``stcli sync setup``: the three steps (map fields, map return fields, confirm), asked for on a
terminal, each answer also as a flag, with the same file at the end."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from stcli.cli import choosing
from stcli.cli.arguments import AsJson, OptionalCampaign, Yes
from stcli.cli.output import emit, line, note, plain, table
from stcli.cli.rule_text import describe_rule
from stcli.cli.session import application, chosen_campaign
from stcli.errors import (
    ChangedMeanwhile,
    Declined,
    ExitCode,
    NotConnected,
    RemoteGone,
    StcliError,
    UsageError,
)

if TYPE_CHECKING:
    from stcli.domain.campaign import CampaignConfig, SyncType
    from stcli.domain.ids import CampaignName
    from stcli.domain.mapping.rules import Rule
    from stcli.usecases.sync_setup import Lists, SyncAnswers, SyncChanges
    from stcli.wiring import Application

NOT_MAPPED, OTHER, AS_IT_IS = "", "…", "="
THEIRS, MINE = "theirs", "mine"


def setup(
    context: typer.Context,
    campaign: OptionalCampaign = None,
    maps: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="TARGET=FIELD",
            help="Map a field of the referrer: first_name=name>first_name, "
            '"meta.Last Name=name>last_name", "meta.Origin=\\"Customer\\"". Empty: not mapped.',
        ),
    ] = None,
    returns: Annotated[
        list[str] | None,
        typer.Option(
            "--return",
            metavar="CUSTOM_FIELD=FIELD",
            help='Write back to a custom field: "Referral Link=referral_link". Empty: not written.',
        ),
    ] = None,
    sync_type: Annotated[
        str | None, typer.Option("--type", metavar="ongoing|one_time", help="Once, or kept up.")
    ] = None,
    customer_type: Annotated[
        str | None,
        typer.Option("--customer-type", metavar="Residential|Commercial", help="Only these."),
    ] = None,
    tags: Annotated[
        list[str] | None, typer.Option("--tag", metavar="NAME", help="Only who has one of these.")
    ] = None,
    created_since: Annotated[
        str | None, typer.Option("--created-since", metavar="DAY", help="Only newer customers.")
    ] = None,
    has_job_since: Annotated[
        str | None, typer.Option("--has-job-since", metavar="DAY", help="Only who had a job since.")
    ] = None,
    max_creates: Annotated[
        int | None,
        typer.Option("--max-creates", min=0, metavar="N", help="A brake: never more in one pass."),
    ] = None,
    welcome_mail: Annotated[
        bool | None,
        typer.Option("--welcome-mail/--no-welcome-mail", help="Whether new referrers get a mail."),
    ] = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> int:
    """Set up which customers become referrers, with what, and what is written back.

    On a terminal it asks in three steps; every flag answers one question beforehand.
    """
    from stcli.usecases.sync_setup import SyncChanges, check_answers, present_answers

    with application(context) as app:
        name = chosen_campaign(app, campaign)
        config = app.settings_of(name)
        answers = present_answers(config)
        _take_pairs(answers.fields, maps, "--map", "")
        _take_pairs(answers.return_fields, returns, "--return", "custom_field:")
        _take_type(answers, sync_type)
        answers.filter = {
            key: value
            for key, value in (
                ("customer_type", customer_type),
                ("tags", list(dict.fromkeys(tags)) if tags else None),
                ("created_since", created_since),
                ("has_job_since", has_job_since),
            )
            if value is not None
        }
        answers.max_creates, answers.welcome_mail = max_creates, welcome_mail
        lists = _lists(app, name, config)
        for remark in lists.remarks:
            note(remark)
        asks = choosing.is_possible() and not yes
        if asks:
            _ask(answers, lists, has_maps=maps is not None, has_returns=returns is not None)
        elif answers.type is None:
            raise UsageError(
                "the type of the sync is missing, and there is no terminal to ask on",
                "Add --type ongoing or --type one_time.",
            )
        check_answers(answers, lists)
        _overview(answers)
        if asks and not choosing.agree(f"Write this to the campaign file of {name}?"):
            raise Declined("not confirmed, so nothing was changed")
        difference = _written(app, name, SyncChanges(config, answers), asks=asks)
    emit(
        {
            "schema_version": 1,
            "campaign": name,
            "changed": bool(difference),
            "difference": difference,
        },
        lambda: line(difference or f"{name}: nothing to change."),
        as_json=as_json,
    )
    note(f"Look at what it would do: stcli sync run {name} --dry-run")
    return ExitCode.DONE


def _written(app: Application, name: CampaignName, changes: SyncChanges, *, asks: bool) -> str:
    """The difference. What somebody else set to something else meanwhile is asked about once more."""
    while True:
        try:
            return app.files.change_by(name, changes.plan)
        except ChangedMeanwhile as error:
            if not asks:
                raise
            kept = choosing.choose(
                f"Changed by somebody else meanwhile: {plain(error.names)}",
                [(THEIRS, "Keep what stands there now, write the rest"), (MINE, "Put mine there")],
                THEIRS,
            )
            if kept == THEIRS:
                changes.give_up(error.paths)


def _take_pairs(
    rules: dict[str, Rule], words: Sequence[str] | None, flag: str, prefix: str
) -> None:
    from stcli.usecases.new_rule import rule_from

    for word in words or ():
        target, equals, text = word.partition("=")
        if not equals or not target.strip():
            raise UsageError(f"{flag} {word!r} is not TARGET=FIELD", "See: stcli sync setup --help")
        key = target.strip()
        if prefix and not key.startswith(prefix):
            key = prefix + key
        if text.strip():
            rules[key] = rule_from(text.strip())
        else:
            rules.pop(key, None)


def _take_type(answers: SyncAnswers, text: str | None) -> None:
    from stcli.domain.campaign import SyncType

    if text is None:
        return
    try:
        answers.type = SyncType(text.replace("-", "_"))
    except ValueError:
        raise UsageError(f"--type is {text!r}", "It is ongoing or one_time.") from None


def _lists(app: Application, name: CampaignName, config: CampaignConfig) -> Lists:
    """What both sides have; where one cannot be asked yet, a remark says why."""
    from stcli.cli import running
    from stcli.usecases.campaign_lookup import find_campaign
    from stcli.usecases.sync_setup import Lists

    async def both() -> Lists:
        found = Lists()
        async with AsyncExitStack() as stack:
            try:
                referral = await stack.enter_async_context(app.open_referral())
                campaign = await find_campaign(referral, config)
                found = replace(found, referrer_targets=campaign.referrer_targets)
            except RemoteGone:
                raise
            except StcliError as error:
                found = _without(found, "the fields of the campaign's form", error)
            try:
                crm = await stack.enter_async_context(app.crm_for(name, config))
                found = replace(found, custom_fields=await crm.custom_fields())
            except NotConnected:
                remark = (
                    f"{name} is not finalized yet, so ServiceTitan's custom fields are not known: "
                    "their names are taken as they are."
                )
                found = replace(found, remarks=(*found.remarks, remark))
            except StcliError as error:
                found = _without(found, "ServiceTitan's custom fields", error)
        return found

    return running.ask(both)


def _without(lists: Lists, what: str, error: StcliError) -> Lists:
    remark = f"{what} could not be read ({error.message}); names are taken as they are."
    return replace(lists, remarks=(*lists.remarks, remark[:1].upper() + remark[1:]))


# The questions


def _ask(answers: SyncAnswers, lists: Lists, *, has_maps: bool, has_returns: bool) -> None:
    if not has_maps:
        note("Step 1 of 3: map fields (ServiceTitan customer to Referral Factory referrer)")
        _ask_fields(answers, lists)
    if not has_returns:
        note("Step 2 of 3: map return fields (Referral Factory referrer to ServiceTitan customer)")
        _ask_returns(answers, lists)
    note("Step 3 of 3: confirm")
    if answers.type is None:
        answers.type = _ask_type()


def _ask_fields(answers: SyncAnswers, lists: Lists) -> None:
    from stcli.domain.catalog import SYNC_TARGETS

    targets = [(t.name, f"{t.label} *", True) for t in SYNC_TARGETS if t.required]
    targets += [
        (name, f"{name.removeprefix('meta.')}{' *' if required else ''}", required)
        for name, required in lists.meta_targets
    ]
    for target, label, required in targets:
        rule = _ask_source(answers.fields.get(target), label, lists, required=required)
        if rule is None:
            answers.fields.pop(target, None)
        else:
            answers.fields[target] = rule


def _ask_source(current: Rule | None, label: str, lists: Lists, *, required: bool) -> Rule | None:
    from stcli.domain.catalog import SYNC_SOURCES
    from stcli.usecases.new_rule import rule_from

    options = [
        ("name>first_name", "First name (out of Name)"),
        ("name>last_name", "Last name (out of Name)"),
    ]
    options += [
        (s.name, f"{s.label} (such as {s.example})")
        for s in SYNC_SOURCES
        if not s.name.startswith("custom_field:")
    ]
    options += [
        (f"custom_field:{field.name}", f"Custom field {plain(field.name)} ({field.data_type})")
        for field in lists.custom_fields or ()
        if field.name
    ]
    options.append((OTHER, 'Something else: "a fixed text" or a {template}'))
    if not required:
        options.insert(0, (NOT_MAPPED, "(not mapped)"))
    now = "" if current is None else _shorthand(current)
    if current is not None and (
        rule_from(now) != current or all(value != now for value, _ in options)
    ):
        # More than a word can say, such as a default: kept whole.
        options.insert(0, (AS_IT_IS, f"As it is: {plain(describe_rule(current))}"))
        now = AS_IT_IS
    chosen = choosing.choose(f"{label} comes from", options, now)
    if chosen == AS_IT_IS:
        return current
    if chosen == OTHER:
        chosen = choosing.type_in(f'{label}: "fixed text", {{template}} or field>transform')
    return rule_from(chosen) if chosen else None


def _shorthand(rule: Rule) -> str:
    """A rule in the words that ``rule_from`` reads."""
    from stcli.domain.mapping.rules import Dynamic, ManualInput, Template

    if isinstance(rule, Dynamic):
        return ">".join((rule.source, *rule.transform))
    if isinstance(rule, Template):
        return rule.template
    return f'"{rule.value}"' if isinstance(rule, ManualInput) else rule.value


def _ask_returns(answers: SyncAnswers, lists: Lists) -> None:
    from stcli.domain.catalog import RETURN_SOURCES
    from stcli.domain.mapping.rules import sources_of
    from stcli.domain.return_fields import misfit
    from stcli.usecases.new_rule import rule_from

    before = answers.return_fields
    known = {source.name for source in RETURN_SOURCES}
    kept = {t: rule for t, rule in before.items() if known.isdisjoint(sources_of(rule))}
    for source in RETURN_SOURCES:
        rule = rule_from(source.name)
        mine = {t: r for t, r in before.items() if sources_of(r)[:1] == (source.name,)}
        if lists.custom_fields is None:
            kept.update(_typed_return(source.label, rule, mine))
            continue
        fitting = [
            (f"custom_field:{field.name}", f"{plain(field.name)} ({field.data_type})")
            for field in lists.custom_fields
            if field.name and not misfit(rule, field) and f"custom_field:{field.name}" not in kept
        ]
        options = [(NOT_MAPPED, "(not written back)"), *fitting]
        usual = f"custom_field:{source.label}"
        current = usual if not before and any(value == usual for value, _ in fitting) else ""
        if mine:
            options.insert(0, (AS_IT_IS, f"As it is: {plain(', '.join(mine))}"))
            current = AS_IT_IS
        target = choosing.choose(f"{source.label} goes to", options, current)
        kept.update(mine if target == AS_IT_IS else {target: rule} if target else {})
    answers.return_fields = kept


def _typed_return(label: str, rule: Rule, mine: dict[str, Rule]) -> dict[str, Rule]:
    """Where the fields are not known, a name is typed in; several, or a rule of more than a word,
    stay as they are."""
    if len(mine) > 1 or any(one != rule for one in mine.values()):
        return mine
    current = next(iter(mine), "").removeprefix("custom_field:")
    text = choosing.type_in(f"{label} goes to the custom field (empty: nowhere)", current)
    return {f"custom_field:{text}": rule} if text else {}


def _ask_type() -> SyncType:
    from stcli.domain.campaign import SyncType

    chosen = choosing.choose(
        "Sync type",
        [
            ("ongoing", "Ongoing: new customers are enrolled, changes are passed on"),
            ("one_time", "One-time: import once, no updates after that"),
        ],
        "ongoing",
    )
    return SyncType(chosen)


def _overview(answers: SyncAnswers) -> None:
    import sys
    from contextlib import redirect_stdout

    # What was asked and what will be written belong to the conversation, not to the result.
    with redirect_stdout(sys.stderr):
        table(
            ("SERVICETITAN", "REFERRAL FACTORY"),
            [(describe_rule(rule), target) for target, rule in answers.fields.items()],
        )
        if answers.return_fields:
            table(
                ("REFERRAL FACTORY", "SERVICETITAN"),
                [(describe_rule(rule), target) for target, rule in answers.return_fields.items()],
            )
        if answers.type is not None:
            line(f"Sync type: {answers.type.value.replace('_', '-')}")
