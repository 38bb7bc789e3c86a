"""How dates are written where Django's own way is not the usual one (FORMAT_MODULE_PATH)."""
