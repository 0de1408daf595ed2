"""Statistics on score tables: intervals, paired tests, effect sizes, rates, worst cases.

The victim is the sampling unit everywhere. Nothing here reads a file or imports torch.
"""
