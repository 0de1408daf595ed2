"""Sharing results through DVC: bundles go to a remote and come back, both ways only after verification."""

from gradsiege.sharing.restore import restore
from gradsiege.sharing.share import share

__all__ = ["restore", "share"]
