"""Settings of an attack, chosen on simulated clients of the attacker's own images."""
