"""The JSON API of the admin page: one module for each group of routes."""
