"""A study at work: its cells, the shards and jobs that compute them, and how far each is."""
