"""Commands that a maintainer runs by hand."""
