"""Looking without changing anything: what a study holds, what this machine can run, what is still sound."""

from gradsiege.inspection.checkup import doctor
from gradsiege.inspection.planning import plan
from gradsiege.inspection.verification import verify

__all__ = ["doctor", "plan", "verify"]
