"""The active strategy's Top-N list, which decides which buys are approved."""
