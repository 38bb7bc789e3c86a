"""Keeping the PBX over the years: backup, restore, the move from SQLite to PostgreSQL."""
