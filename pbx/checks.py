"""System checks with stable ids: each names the wrong setting and its remedy."""
