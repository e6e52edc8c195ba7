"""stcli connects referral campaigns of Referral Factory with ServiceTitan."""

__version__ = "0.1.0"
