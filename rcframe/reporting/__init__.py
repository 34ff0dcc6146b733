"""Pages that people look at: what runs found, drawn and in tables."""
