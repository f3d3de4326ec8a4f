"""Everything that touches PostgreSQL: the pool, migrations, statements."""
