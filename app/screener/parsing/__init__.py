"""How foreign text becomes tickers, in a process of its own that can be killed."""
