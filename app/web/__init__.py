"""What every HTTP part uses: authentication, sessions, locale, problems, live hub, server."""
