"""What runs stcli unattended: a block of lines in the user's crontab, or a systemd user timer."""
