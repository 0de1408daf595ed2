"""The local update that client and attacker share, and all data that pass between them."""
