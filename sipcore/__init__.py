"""The SIP engine. Below ``management/`` nothing here imports Django."""
