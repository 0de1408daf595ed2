"""Flower's grid in one process, without Ray: every message runs its ClientApp at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.grid import Grid
from flwr.supercore.task_identity import TaskIdentity


class LocalGrid(Grid):
    """Runs a ClientApp for every message, in this process."""

    def __init__(self, app: ClientApp, clients: int) -> None:
        self.app, self._run = app, None
        self.replies: dict[str, Message] = {}
        self.contexts = {
            2**63 + n: Context(n, 2**63 + n, {"client": n, "partition-id": n}, RecordDict(), {})
            for n in range(clients)
        }
        TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1

    def set_run(self, run: Any) -> None:
        self._run = run

    @property
    def run(self) -> Any:
        return self._run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        return [*self.contexts]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        pushed = []
        for message in messages:
            pushed.append(str(len(self.replies)))
            self.replies[pushed[-1]] = self.app(
                message, self.contexts[message.metadata.dst_node_id]
            )
        return pushed

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return [self.replies[name] for name in message_ids]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        return self.pull_messages([*self.push_messages(messages)][::-1])  # in any order
