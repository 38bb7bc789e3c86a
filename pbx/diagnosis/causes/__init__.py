"""One pure function for each cause: from plain evidence to a verdict, or None."""
