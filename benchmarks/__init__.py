"""Benchmarks of the attack engines; `make benchmark` runs them."""
