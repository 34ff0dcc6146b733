"""Data sets: what a run reads, and how its batches are ordered."""
