"""Subscriptions of phones to the state of other extensions, kept so that lamps go on after a restart."""
