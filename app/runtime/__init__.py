"""What every part of the process stands on, without database and configuration."""
