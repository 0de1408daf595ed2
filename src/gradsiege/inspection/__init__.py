"""Looking without changing anything: what a study holds and shows, what this machine can run, what is still sound."""

from gradsiege.inspection.checkup import doctor
from gradsiege.inspection.planning import plan
from gradsiege.inspection.verdicts import claims
from gradsiege.inspection.verification import verify

__all__ = ["claims", "doctor", "plan", "verify"]
