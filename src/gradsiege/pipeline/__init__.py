"""The execution of a study: its cells, the shards and jobs that compute them, and their states."""
