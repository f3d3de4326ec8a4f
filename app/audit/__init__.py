"""Who changed what, from where, with which result."""
