"""Attacks: what a curious server can do with what it sees.

`engine` holds the hot loop and its parts, `recipes` one attack a file, `counters` what an informed attacker changes.
Nothing in here may import data sets, defenses, the federation or the metrics: the truth is out of reach.
"""
