"""What ``fuzz`` sends, and who sends it."""
