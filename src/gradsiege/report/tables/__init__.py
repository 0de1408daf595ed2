"""One table per file: rows as text for readers, and the same numbers as long data."""
