"""One figure per file: each draws the stored results and names the missing ones."""
