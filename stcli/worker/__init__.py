"""Passes of many hosts: jobs of a queue in the database that keeps the state.

The queue is Procrastinate's. It decides who begins what and when; that a campaign has one pass at a
time is the lease's doing alone (see ``store/locks.py``), so whatever the queue gets wrong costs a
moment and never a second booking.
"""
