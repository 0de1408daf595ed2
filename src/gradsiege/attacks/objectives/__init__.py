"""What an attack minimises: distances between updates, regularizers, and what a defense did to the update."""
