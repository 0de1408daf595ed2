"""One figure per file: each draws what it can from the stored results, and says what it cannot."""
