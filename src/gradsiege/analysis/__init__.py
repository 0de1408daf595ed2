"""Statistics on score tables, and the verdicts on published claims that rest on them.

The victim is the sampling unit everywhere. Only the ledger of claims reads a file, and nothing imports torch.
"""
