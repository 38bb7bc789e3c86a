"""What the program ``enumeration`` is made of: numbers of every kind, and the two ways to look at the answers."""
