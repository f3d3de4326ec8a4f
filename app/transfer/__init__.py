"""History out of the database, into it, and out of the way."""
