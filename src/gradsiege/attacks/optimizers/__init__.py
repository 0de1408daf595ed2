"""How an attack minimises: many independent elements at once."""
