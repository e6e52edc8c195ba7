"""Which addresses and secrets may be used at all; no network."""

from __future__ import annotations

import logging
import ssl

import pytest

from stcli.clients import transport
from stcli.clients.transport import checked_url, header_value
from stcli.domain.secret import Secret
from stcli.errors import ConfigurationError, CredentialsUnusable


@pytest.mark.parametrize(
    "url",
    [
        "https://api.servicetitan.io",
        "https://api.servicetitan.io/",
        "http://localhost:8000/x",
        "http://127.0.0.1:1",
        "http://127.9.9.9",
        "http://[::1]:8000",
    ],
)
def test_safe_addresses(url: str) -> None:
    """https anywhere, plain http to this machine; a slash at the end is dropped."""
    assert checked_url(url, "X") == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    [
        "http://api.servicetitan.io",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
        "http://10.0.0.1",
        "http://0.0.0.0",
        "ftp://localhost",
        "https://",
        "https://user:secret@api.servicetitan.io",
        "https://api.servicetitan.io/?key=secret",
        "https://api.servicetitan.io:port",
        "https://[::1",
        "api.servicetitan.io",
        "",
    ],
)
def test_unsafe_addresses_are_refused_without_repeating_them(url: str) -> None:
    """Anything else is a fault of the configuration; what may hold a secret is not repeated."""
    with pytest.raises(ConfigurationError) as caught:
        checked_url(url, "X")
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("text", ["", "with space", "line\nbreak", "tab\t", "schlüssel", "nul\0"])
def test_secret_that_is_no_header_value_is_refused_unseen(text: str) -> None:
    """httpx would repeat the whole value in its own error."""
    with pytest.raises(CredentialsUnusable) as caught:
        header_value(Secret(text), "ST app key")
    assert not text or text not in str(caught.value)
    assert caught.value.__cause__ is None


def test_certificates_are_always_verified() -> None:
    """Both kinds of context verify certificate and host name."""
    for context in (transport._trusting_nobody(), transport._trusting_public_authorities()):
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname


def test_http_library_logs_no_addresses() -> None:
    """httpx logs each address with its query at INFO; that is switched off."""
    assert not logging.getLogger("httpx").isEnabledFor(logging.INFO)
    assert not logging.getLogger("httpcore.http11").isEnabledFor(logging.DEBUG)
