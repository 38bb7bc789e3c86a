"""What ``hijack`` tries: one module for each kind of attack."""
