"""The documentation: pages in Markdown, and the programs that make the rest of the site (``make docs``)."""
