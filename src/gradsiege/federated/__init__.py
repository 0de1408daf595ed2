"""Clients, server, and the two stages that run the same client code: `federate` and `observe`."""
