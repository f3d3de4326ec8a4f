"""Building blocks of the process that need neither database nor configuration."""
