"""Working on networks: reading, measuring, converting, cutting and saving them."""
