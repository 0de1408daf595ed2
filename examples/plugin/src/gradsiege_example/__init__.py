"""Methods that this package adds to GradSiege."""
