"""What delivered orders make of a ticker's position."""
