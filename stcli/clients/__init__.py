"""Adapters to the two APIs: HTTP outside, records of the domain inside."""
