"""Where an attack searches: pixels, latent codes, features and weights of generators, untrained networks."""
