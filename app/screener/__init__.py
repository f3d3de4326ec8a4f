"""The Top-N list that decides which buys go on."""
