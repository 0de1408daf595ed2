"""The parts of an attack that learns to invert updates instead of matching one."""
