"""The HTML report: one page that shows, cites and explains what was drawn."""
