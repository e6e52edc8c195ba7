"""Telling others how a run ended: pings, a webhook, a command, a file for Prometheus."""
