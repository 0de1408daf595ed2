"""What an attacker does who knows the factor: divide by it."""

from gradsiege.attacks.counters.plan import AttackPlan

VERSION = 1
REQUIRES = ("disclosure",)


def doubled(plan: AttackPlan) -> AttackPlan:
    """Divide the update by the disclosed factor before it is matched."""
    factor = plan.disclosure["factor"]
    return plan.matching({name: value / factor for name, value in plan.update.items()})
