"""What the program ``digest`` is made of: a phone that can lie in any part of its credentials, and the lies."""
