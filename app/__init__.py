"""Trading Signal Processor: keeps alerts, approves them against a Top-N, forwards them to a broker bridge."""
