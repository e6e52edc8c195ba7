"""From a person of a campaign to a booking: rules, their checks, and their application."""
