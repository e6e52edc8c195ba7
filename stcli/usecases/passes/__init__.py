"""One file for each kind of work over a campaign, and what they share."""
