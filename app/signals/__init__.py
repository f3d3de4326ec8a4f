"""The domain's words and rules, pure: nothing of the application is imported here."""
