"""Finished cells in MLflow, which shows the results and does not store them."""

from gradsiege.tracking.follow import follow
from gradsiege.tracking.replay import track

__all__ = ["follow", "track"]
