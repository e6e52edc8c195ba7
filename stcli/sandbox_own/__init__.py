"""Both APIs on this machine, written from their published documents and from nothing of stcli's own,
so that it cannot share stcli's mistakes."""
