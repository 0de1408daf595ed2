"""Pages that are made when the site is built, each from the one place that knows: the command line, the schema, the tables, the sources."""
