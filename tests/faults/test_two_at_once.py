"""Two processes on one cell: neither tears the other's files, and what stands in the end is right."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from faults import COMMANDS, Place, save_often, slow_disk

ROUNDS = 4


def test_two_processes_on_one_cell(copied: Callable[[str], Place], chance: random.Random) -> None:
    place = copied("two")
    before = place.prints()
    for _ in range(ROUNDS):
        first = place.start(*COMMANDS["attack"], changes=(save_often, slow_disk))
        time.sleep(chance.uniform(0, 1))
        second = place.start(*COMMANDS["attack"], changes=(save_often, slow_disk))
        ends = [first.end(), second.end()]
        codes = sorted(end.code for end in ends)
        assert codes in ([0, 0], [0, 4]), [end.said for end in ends]
        for end in ends:
            if end.code:
                assert "Does another process work on the same?" in end.sentence()
        assert place.torn() == []
        assert place.prints() == before
        assert place.run(*COMMANDS["attack"]).code == 0
        assert place.prints() == before
        assert place.remains() == []
