"""What is masked in log lines, errors and bundles, and what is not."""

from __future__ import annotations

import time

import pytest

from stcli.logs import masked, masked_people


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("mail to ann.lee+x@mail.example.com, please", "mail to ***, please"),
        ("call +1 (555) 010-9999 now", "call *** now"),
        ("call 5550109999", "call ***"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer ***"),
        ("st-app-key: ak1.zzz", "st-app-key: ***"),
        ("at 2026-11-24 14:57 UTC", "at 2026-11-24 14:57 UTC"),
        ("on 2026-11-24 5550109999 called", "on 2026-11-24 *** called"),
        ("run 20261124T145716-8fd1e5af", "run 20261124T145716-8fd1e5af"),
        ("booking 70000012 of tenant 985798691", "booking 70000012 of tenant 985798691"),
        ("  tenant_id: 985798691  # ours", "  tenant_id: 985798691  # ours"),
        ("--tenant-id 985798691", "--tenant-id 985798691"),
        ("GET /crm/v2/tenant/985798691/bookings", "GET /crm/v2/tenant/985798691/bookings"),
        ("pass of production:985798691 canary", "pass of production:985798691 canary"),
        ("tenant 985798691, call 5550109999", "tenant 985798691, call ***"),
        ("tenant 985798691 5550109999", "tenant 985798691 ***"),
        ("customer 985798691", "customer ***"),
        ("the token is good", "the token is good"),
        ("client id, secret, app key are good", "client id, secret, app key are good"),
        ("refused the access token: an account has", "refused the access token: an account has"),
        ("the client secret was refused", "the client secret was refused"),
        ("token rf1.9a8b", "token ***"),
        ("token: abcdefghijklmnop", "token: ***"),
        ("client_secret=short&grant=x", "client_secret=***"),
        ('{"access_token": "short"}', '{"access_token": "***'),
        ("the app key ak1.zzz", "the app key ***"),
        ("7 created, 1 skipped", "7 created, 1 skipped"),
    ],
)
def test_people_and_secrets_are_masked(text: str, kept: str) -> None:
    """Dates, run ids, tenants and sentences stay readable; another long number may be a phone's."""
    assert masked(text) == kept


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("'ann.lee+x@mail.example.com' is no option", "'***' is no option"),
        ("'+1 (555) 010-9999' is no date", "'***' is no date"),
        ("'5550109999' is no date", "'***' is no date"),
        ("spring-hvac is connected with tenant 985798691", None),
        ("a newer token may have been made, or the secret changed", None),
        ("/tmp/1732646123456/campaigns/a.yaml:12:4: is no text", None),
        ("127.0.0.1 refused the connection; http://127.0.0.1:8101/v1 too", None),
        ("write one such as 2026-12-01T15:00:00Z", None),
    ],
)
def test_an_error_stays_readable_without_people(text: str, kept: str | None) -> None:
    """It names tenants, files and addresses on purpose."""
    assert masked_people(text) == (text if kept is None else kept)


@pytest.mark.parametrize(
    "part",
    ["a", "a@", "a.@b.", "@a.a", ".1-", "1 ", "1(((", "token ", "tenant ", "2026-11-26 ", "+1 _"],
)
def test_a_megabyte_of_anything_is_masked_at_once(part: str) -> None:
    """A message may hold what a damaged file holds: the time grows with it, not with its square."""
    text = part * (1_000_000 // len(part))
    began = time.process_time()
    masked(text)
    masked_people(text)
    assert time.process_time() - began < 20
