"""Keeping what was computed: state in files that are whole or absent, and a cache that runs share."""
