"""Who may call: extensions, the HA1 cache and where each phone is now."""
