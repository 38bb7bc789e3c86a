"""Slows down who has the wrong password and blocks who guesses, without locking out anybody's office."""
