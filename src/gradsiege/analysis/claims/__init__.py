"""From a published claim and the tables of a study to a verdict."""
