"""Open positions, and the orders that people place."""
