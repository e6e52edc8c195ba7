"""ServiceTitan: token, lists, export feeds, bookings, jobs."""
