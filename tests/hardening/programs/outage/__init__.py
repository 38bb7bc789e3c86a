"""What ``store`` does to the database, and who looks on."""
