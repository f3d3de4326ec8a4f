"""What every HTTP part stands on: authentication, sessions, locale, problems, live hub, server."""
