"""A run from request to report."""
