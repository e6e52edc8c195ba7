"""Referral Factory: campaigns, users, qualification."""
