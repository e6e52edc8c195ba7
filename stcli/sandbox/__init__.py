"""A local server that emulates Referral Factory and ServiceTitan, for tests and for the demo.

It imports none of our own code: its rules come from the published API documents, so that it cannot
share our mistakes. See `RunningSandbox` for use in a process and `serve` for the command line.
"""

from stcli.sandbox.server import Addresses, RunningSandbox, SandboxApp, create_app, serve
from stcli.sandbox.settings import Credentials, SandboxSettings
from stcli.sandbox.world import World

__all__ = [
    "Addresses",
    "Credentials",
    "RunningSandbox",
    "SandboxApp",
    "SandboxSettings",
    "World",
    "create_app",
    "serve",
]
