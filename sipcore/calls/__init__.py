"""Calls: what a call is to the engine (RFC 3261 sections 12 to 15), and how it is written down."""
