"""Read-only commands: the plan and verdicts of a study, the abilities of this machine, the integrity of the results."""

from gradsiege.inspection.checkup import doctor
from gradsiege.inspection.planning import plan
from gradsiege.inspection.verdicts import claims
from gradsiege.inspection.verification import verify

__all__ = ["claims", "doctor", "plan", "verify"]
