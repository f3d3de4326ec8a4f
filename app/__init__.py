"""The Trading Signal Processor: keeps alerts, approves them against a screener's Top-N, forwards them to a broker bridge."""
