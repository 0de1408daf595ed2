"""The HTML report: one page that shows, cites and explains the figures and tables."""
