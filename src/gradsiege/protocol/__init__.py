"""The language that client and attacker share, and all that crosses between them."""
