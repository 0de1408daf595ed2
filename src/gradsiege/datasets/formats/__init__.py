"""Readers of the formats in which data sets are published. None of them unpickles, and none extracts an archive."""
