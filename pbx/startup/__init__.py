"""What ``manage.py start`` does: prepare the database, the first log-in, and keep the processes running."""
