"""The settings of attacks: the one place where an audit chooses them.

The attacks run with the settings that their papers or releases state. A choice on simulated clients of the attacker's own
pictures belongs here; `NOTE` is what the page says of it.
"""

from __future__ import annotations

from gradsiege.attacks.base import Attack
from gradsiege.auditing.auxiliary import Auxiliary
from gradsiege.protocol.observation import Observation

NOTE = (
    "The attacks ran with their published settings. They were not tuned to this network: an attacker who tunes step sizes and weights "
    "on pictures of its own may do better."
)


def chosen(attack: Attack, seen: Observation, owned: Auxiliary | None) -> Attack:
    """Return the attack with the settings that it runs with.

    Args:
        attack: with its budget.
        seen: the observation, which says what clients do; never the private pictures.
        owned: the attacker's own pictures.
    """
    return attack
