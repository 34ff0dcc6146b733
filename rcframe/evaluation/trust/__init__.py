"""Can a robust figure be trusted? Flags, and the checks that raise them."""
