"""Where federations live: adapters that record what a server of another framework receives, for an audit."""
