"""Changes that people made or tried: who, from where, what, with which result."""
