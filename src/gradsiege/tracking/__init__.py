"""Finished cells in MLflow, which is a view of the results and never their home."""

from gradsiege.tracking.follow import follow
from gradsiege.tracking.replay import track

__all__ = ["follow", "track"]
