"""Where secrets come from, in a fixed order, and where they are kept: the OS keyring, normally."""
