"""What is masked in log lines, errors and bundles, and what is not."""

from __future__ import annotations

import pytest

from stcli.logs import masked


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
