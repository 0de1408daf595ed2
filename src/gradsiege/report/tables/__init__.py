"""One table per file: rows as a reader sees them, and the same numbers as data."""
