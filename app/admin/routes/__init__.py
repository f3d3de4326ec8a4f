"""The JSON API of the admin page, a module for each group of routes."""
