"""Parse pages and files into tickers, in a child process that is killed if it takes too long."""
