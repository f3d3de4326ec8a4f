"""The domain: statuses, alerts, positions. Pure; imports no other package of the application."""
