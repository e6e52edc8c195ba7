"""What stcli remembers between runs: connections, the ledger, cursors, runs, failures, locks."""
