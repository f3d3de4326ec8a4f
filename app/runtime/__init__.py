"""What every part of the process uses; it knows neither database nor configuration."""
