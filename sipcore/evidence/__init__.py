"""What the engine remembers of attempts, so that the diagnosis can say in words why a phone does not register."""
