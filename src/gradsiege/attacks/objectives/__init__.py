"""Parts of an attack's objective: distances between updates, regularizers, and estimated transforms of defenses."""
