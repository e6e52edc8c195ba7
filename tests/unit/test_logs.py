"""What is masked in log lines, errors and bundles, and what is not."""

from __future__ import annotations

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
        ("booking 70000012 of tenant 985798691", "booking 70000012 of tenant ***"),
        ("7 created, 1 skipped", "7 created, 1 skipped"),
    ],
)
def test_people_and_secrets_are_masked(text: str, kept: str) -> None:
    """Dates, run ids and counts stay readable; a long number may be a phone's."""
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
