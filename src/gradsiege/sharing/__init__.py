"""Passing results on through DVC: bundles go to a remote and come back, and only what is sound does either."""

from gradsiege.sharing.restore import restore
from gradsiege.sharing.share import share

__all__ = ["restore", "share"]
