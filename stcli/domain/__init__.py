"""The trade itself, pure: no files, no network, no clock, no environment, no randomness."""
