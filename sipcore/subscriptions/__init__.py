"""SUBSCRIBE and NOTIFY (RFC 6665): the lamps of other extensions, presence, messages waiting."""
