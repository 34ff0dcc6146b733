"""What finished runs found, read from their folders and held against each other."""
