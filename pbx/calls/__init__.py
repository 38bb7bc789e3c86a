"""Call records: what the engine writes of each call, and the pages that show it."""
