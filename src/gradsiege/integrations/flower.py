"""Flower: record what its server receives, or look at one's own update before it is sent (flwr 1.42, both of its APIs).

On the server, one line; recording is off unless this is called, and ends after `most` uploads:

    strategy = record(FedAvg(), "uploads", most=20)

On a client, a mod that comes last, so that it sees what leaves:

    app = ClientApp(mods=[LocalDpMod(...), own_update("mine", check=audit)])

`gradsiege.integrations.recordings.recordings` reads either folder.
"""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from gradsiege.errors import UsageError
from gradsiege.extras import need
from gradsiege.integrations import recordings as disk
from gradsiege.integrations.recordings import EQUAL, Arrays, Recording

Strategy = TypeVar("Strategy")
Mod = Callable[[Any, Any, Callable[[Any, Any], Any]], Any]
WEIGHT = "num-examples"
SERVER_SIDE = (
    "the strategy clips and adds noise after it has received the updates: that hides a client from those who see the model, "
    "not from this server"
)
TOO_LONG = "the update is longer than the clipping norm: the client's mod that clips is missing, or leaves tensors out"
# Single precision, and tensors of one number that Flower's clipping leaves as they are.
SLACK = 1.001


def record(strategy: Strategy, folder: Path | str, most: int = 20) -> Strategy:
    """Have a strategy write what it receives; it stays the same object, of the same type, and aggregates as before.

    A strategy that wraps another one (Flower's differential privacy) is recorded from outside: what arrives, before it clips.

    Args:
        strategy: of the message API (``configure_train``, ``aggregate_train``) or the older one (``configure_fit``, ``aggregate_fit``).
        folder: of the recordings, see `gradsiege.integrations.recordings`.
        most: number of uploads after which nothing more is written.

    Raises:
        UsageError: the strategy is of neither API, or is recorded already.
        MissingError: Flower is not installed.
    """
    need("flwr")
    _refuse_none(most)
    api = next((api for api in (_Messages, _Legacy) if hasattr(strategy, api.SENDS)), None)
    if api is None:
        raise UsageError(
            f"{type(strategy).__name__} is not a strategy of Flower: it has neither {_Messages.SENDS} nor {_Legacy.SENDS}"
        )
    if isinstance(getattr(strategy, "_gradsiege_recorder", None), _Recorder):
        raise UsageError(f"{type(strategy).__name__} is recorded already; call record once")
    recorder: Any = api(strategy, Path(folder), most)
    vars(strategy)["_gradsiege_recorder"] = recorder
    return strategy


class _Recorder(ABC):
    """Replaces the two methods of a strategy's instance that see models leave and come back."""

    SENDS: str
    RECEIVES: str

    def __init__(self, strategy: Any, folder: Path, most: int) -> None:
        self.strategy, self.folder, self.left = strategy, folder, most
        self.sent: dict[str, Arrays] = {}
        send, receive = getattr(strategy, self.SENDS), getattr(strategy, self.RECEIVES)

        def sending(*args: Any, **kwargs: Any) -> Any:
            leaving = list(send(*args, **kwargs))
            self.sent = dict(self.models(leaving))
            return leaving

        def receiving(server_round: int, arrived: Iterable[Any], *rest: Any) -> Any:
            arrived = list(arrived)
            self.write(server_round, arrived)
            return receive(server_round, arrived, *rest)

        setattr(strategy, self.SENDS, sending)
        setattr(strategy, self.RECEIVES, receiving)

    @abstractmethod
    def models(self, leaving: list[Any]) -> Iterable[tuple[str, Arrays]]:
        """Yield client and the model that it is sent."""

    @abstractmethod
    def uploads(self, arrived: list[Any]) -> Iterable[tuple[str, Arrays, dict[str, Any]]]:
        """Yield client, arrays and what came with them."""

    def write(self, number: int, arrived: list[Any]) -> None:
        """Write the uploads of one round, as many as are left."""
        uploads = [upload for upload in self.uploads(arrived) if upload[0] in self.sent]
        shared = disk.equal([arrays for _, arrays, _ in uploads])
        # Read in every round: an adaptive clipping norm changes.
        defense, notes = privacy_of(self.strategy)
        for (client, arrays, known), same in zip(uploads, shared, strict=True):
            if self.left == 0:
                return
            of_client = [*notes, *self._length(client, arrays, defense), *[EQUAL] * same]
            told = {"defense": defense, "notes": of_client, "shared": same, **known}
            disk.write(self.folder, number, client, self.sent[client], arrays, **told)
            self.left -= 1

    def _length(self, client: str, arrays: Arrays, defense: dict[str, Any]) -> list[str]:
        norm = defense.get("clipping_norm")
        if norm is None or defense["side"] == "server":
            return []
        squares = [((arrays[k] - v) ** 2).sum() for k, v in self.sent[client].items()]
        return [TOO_LONG] if float(sum(squares)) ** 0.5 > SLACK * norm else []


class _Messages(_Recorder):
    """The message API, `flwr.serverapp.strategy`."""

    SENDS, RECEIVES = "configure_train", "aggregate_train"

    def models(self, leaving: list[Any]) -> Iterable[tuple[str, Arrays]]:
        for message in leaving:
            yield str(message.metadata.dst_node_id), arrays_of(message.content)

    def uploads(self, arrived: list[Any]) -> Iterable[tuple[str, Arrays, dict[str, Any]]]:
        for message in arrived:
            if not message.has_error():
                content = message.content
                yield str(message.metadata.src_node_id), arrays_of(content), metrics_of(content)


class _Legacy(_Recorder):
    """The older API, `flwr.server.strategy`."""

    SENDS, RECEIVES = "configure_fit", "aggregate_fit"

    def models(self, leaving: list[Any]) -> Iterable[tuple[str, Arrays]]:
        for proxy, instructions in leaving:
            yield _name(proxy), _by_place(instructions.parameters)

    def uploads(self, arrived: list[Any]) -> Iterable[tuple[str, Arrays, dict[str, Any]]]:
        for proxy, result in arrived:
            numbers = {key: float(value) for key, value in result.metrics.items() if _number(value)}
            known = {"images": int(result.num_examples), "metrics": numbers}
            yield _name(proxy), _by_place(result.parameters), known


def privacy_of(strategy: Any) -> tuple[dict[str, Any], list[str]]:
    """Return what a strategy says of differential privacy, and notes for those who read the recordings."""
    names = ("noise_multiplier", "clipping_norm", "num_sampled_clients")
    if not all(hasattr(strategy, name) for name in names):
        return {}, []
    side = "client" if "ClientSide" in type(strategy).__name__ else "server"
    read = {name: getattr(strategy, name) for name in names}
    return {"side": side, **read}, [SERVER_SIDE] if side == "server" else []


def own_update(
    folder: Path | str,
    check: Callable[[Recording], None] | None = None,
    most: int = 20,
) -> Mod:
    """Return a client's mod that records its own update before it is sent.

    Args:
        folder: of the recordings.
        check: is called with the recording before the update leaves. If it raises, the update stays here, and the server gets an
            error with the exception's text, so that text should hold nothing private.
        most: number of uploads that stay on disk. `check` sees every upload; those beyond are deleted once it has.

    Raises:
        UsageError: `most` is less than 1.
        MissingError: Flower is not installed.
    """
    need("flwr")
    _refuse_none(most)
    left = most

    def mod(message: Any, context: Any, call_next: Callable[[Any, Any], Any]) -> Any:
        nonlocal left
        sent = arrays_of(message.content)
        reply = call_next(message, context)
        if reply.has_error() or not reply.content.array_records or not sent:
            return reply
        if left > 0:
            left -= 1
            return _checked(message, reply, sent, Path(folder), check)
        if check is None:
            return reply
        with tempfile.TemporaryDirectory() as passing:
            return _checked(message, reply, sent, Path(passing), check)

    return mod


def _checked(
    message: Any,
    reply: Any,
    sent: Arrays,
    folder: Path,
    check: Callable[[Recording], None] | None,
) -> Any:
    """Record an upload in a folder and let `check` see it; return the reply that leaves the client."""
    file = disk.write(
        folder,
        _round(message.content),
        str(message.metadata.dst_node_id),
        sent,
        arrays_of(reply.content),
        **metrics_of(reply.content),
    )
    if check is not None:
        try:
            check(disk.read(file))
        except Exception as refusal:
            return _refused(message, str(refusal))
    return reply


def _refuse_none(most: int) -> None:
    if most < 1:
        raise UsageError(f"most is {most}; give a whole number, at least 1")


def _refused(message: Any, why: str) -> Any:
    from flwr.app import Error, Message

    return Message(Error(code=0, reason=f"the client's own check: {why}"), reply_to=message)


def arrays_of(content: Any) -> dict[str, Any]:
    """Return all arrays of a message's content by name."""
    return {
        name: array.numpy()
        for record in content.array_records.values()
        for name, array in record.items()
    }


def metrics_of(content: Any) -> dict[str, Any]:
    """Return the numbers of a message's content, and the number of training images if it stands among them."""
    numbers = {
        name: float(value)
        for record in content.metric_records.values()
        for name, value in record.items()
        if _number(value)
    }
    images = numbers.get(WEIGHT)
    return {"metrics": numbers, "images": None if images is None else int(images)}


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _round(content: Any) -> int:
    rounds = [
        record["server-round"]
        for record in content.config_records.values()
        if "server-round" in record
    ]
    return int(rounds[0]) if rounds else 0


def _name(proxy: Any) -> str:
    return str(getattr(proxy, "node_id", None) or proxy.cid)


def _by_place(parameters: Any) -> dict[str, Any]:
    from flwr.common import parameters_to_ndarrays

    return {str(place): array for place, array in enumerate(parameters_to_ndarrays(parameters))}
