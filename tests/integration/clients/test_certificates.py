"""A real TLS server on this machine, with certificates that are right and ones that are not."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import trustme

from stcli.clients import transport
from stcli.clients.transport import Answer, NotSent, Transport
from stcli.errors import Unavailable


class _Server:
    """Answers ``{}`` and keeps what it was sent."""

    def __init__(self, certificate: trustme.LeafCert) -> None:
        self.seen: list[str] = []
        seen = self.seen

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                seen.append(self.path)
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *args: object) -> None:
                """Nothing: tests read the program's output."""

        class Quiet(HTTPServer):
            def handle_error(self, *args: object) -> None:
                """A client that hangs up in the handshake is what is tested."""

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        self._server = Quiet(("127.0.0.1", 0), Handler)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(
    authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """SSL_CERT_FILE names the authority; what the process remembers is forgotten on both sides."""
    file = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(file))
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    transport._trusting_public_authorities.cache_clear()
    yield
    transport._trusting_public_authorities.cache_clear()


@pytest.fixture
def served(
    authority: trustme.CA, trusted: None, request: pytest.FixtureRequest
) -> Iterator[_Server]:
    """With the kind of certificate that the parameter names."""
    now = datetime.now(UTC)
    kinds = {
        "right": lambda: authority.issue_cert("localhost"),
        "for another host": lambda: authority.issue_cert("api.servicetitan.example"),
        "expired": lambda: authority.issue_cert(
            "localhost", not_before=now - timedelta(days=9), not_after=now - timedelta(days=1)
        ),
        "of an unknown authority": lambda: trustme.CA().issue_cert("localhost"),
    }
    server = _Server(kinds[request.param]())
    yield server
    server.close()


def _asked(server: _Server) -> Answer:
    """What a request with a key gets."""
    url = f"https://localhost:{server.port}"

    async def ask() -> Answer:
        async with Transport("ServiceTitan", url, timeout_seconds=10) as sender:
            return await sender.send(
                "GET", f"{url}/tenant/1", headers={"ST-App-Key": "ak1.made-up"}
            )

    return asyncio.run(ask())


@pytest.mark.parametrize("served", ["right"], indirect=True)
def test_the_named_authority_is_believed(served: _Server) -> None:
    """Else the refusals below would prove nothing."""
    answer = _asked(served)
    assert (answer.status, answer.body, served.seen) == (200, b"{}", ["/tenant/1"])


@pytest.mark.parametrize(
    "served", ["for another host", "expired", "of an unknown authority"], indirect=True
)
def test_a_certificate_that_does_not_match_gets_nothing(served: _Server) -> None:
    """No request, so no key either; and it is not taken for a network that is down."""
    with pytest.raises(Unavailable, match="certificate of localhost is not trusted") as caught:
        _asked(served)
    assert not isinstance(caught.value, NotSent)
    assert "SSL_CERT_FILE" in caught.value.hint
    assert served.seen == []
