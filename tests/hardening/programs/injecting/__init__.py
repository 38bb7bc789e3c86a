"""What ``injection`` sends, and the places in which it looks for what must not come of it."""
