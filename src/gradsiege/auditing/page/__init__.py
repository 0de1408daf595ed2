"""The page of an audit: one HTML file without any reference outside itself."""
