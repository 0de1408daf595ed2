"""GradSiege: what gradient inversion in federated learning can and cannot do.

The package holds the methods (attacks, defenses, priors, metrics); the Snakemake pipeline at the
root of the repository decides what runs. Importing this package loads no heavy library.
"""

__version__ = "0.1.0"
