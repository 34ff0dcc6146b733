"""Judging models: what may be asked of one, what an attack may do, and what comes out."""
