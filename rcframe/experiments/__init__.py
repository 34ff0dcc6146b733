"""Experiments: many runs that belong together, and who carries them out."""
