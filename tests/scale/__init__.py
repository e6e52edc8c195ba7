"""What takes too long for every run of the tests; each is a command of its own."""
