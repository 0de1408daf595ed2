"""The plan as it is told, and what an earlier run of the same audit finished of it."""

from __future__ import annotations

from gradsiege.auditing.parts import Parts
from gradsiege.auditing.plan import Plan, in_words, within
from gradsiege.auditing.words import is_or_are, lasting, some_of


def announced(laid: Plan, parts: Parts) -> str:
    """Return the plan in words, and how many of its attacks an earlier run finished, if any; `laid`: as it was laid out."""
    plan = within(laid, spent=0.0)
    finished = {part.key for part in laid.parts if parts.load(part.key) is not None}
    if not finished:
        return in_words(plan)
    left = [part for part in plan.running if part.key not in finished]
    told = f"{some_of(len(finished), len(finished) + len(left), 'attack')} {is_or_are(len(finished))} finished already"
    rest = sum(part.seconds for part in left)
    more = f"; the audit goes on with the rest, about {lasting(rest)}" if left else ""
    return f"{in_words(plan)}\n  {told}{more}"
