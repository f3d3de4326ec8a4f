"""Everything that touches PostgreSQL: pools, clock, migrations, loading statements."""
