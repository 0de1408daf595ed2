"""A Flower federation from nothing to a page: record what its server receives, and audit the networks of all rounds."""

import torch
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg
from torch import nn

import gradsiege as gs
from gradsiege.integrations.flower import record
from gradsiege.integrations.recordings import networks_by_round, recordings

SHAPE, RATE, ROUNDS = (3, 16, 16), 0.1, 2
images, public = torch.rand(2, 12, *SHAPE, generator=torch.Generator().manual_seed(0))
labels = torch.arange(12) % 5  # yours in place of these; a client holds one picture
client_app, server_app = ClientApp(), ServerApp()


def network():
    """Return the network that the federation trains."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 49, 5))


@client_app.train()
def train(message, context):
    """Take one step on the client's own picture."""
    own = int(context.node_config["partition-id"])
    model = network()
    model.load_state_dict(message.content["arrays"].to_torch_state_dict())
    nn.functional.cross_entropy(model(images[own, None]), labels[own, None]).backward()
    torch.optim.SGD(model.parameters(), lr=RATE).step()
    sent = {"arrays": ArrayRecord(model.state_dict()), "metrics": MetricRecord({"num-examples": 1})}
    return Message(RecordDict(sent), reply_to=message)


@server_app.main()
def serve(grid, context):
    """Train for some rounds, and record what arrives."""
    strategy = record(FedAvg(fraction_evaluate=0.0), "uploads", most=20)
    start = ArrayRecord(network().state_dict())
    strategy.start(grid=grid, initial_arrays=start, num_rounds=ROUNDS)


def audit(budget="quick"):
    """Attack an upload as the server could, then audit the network of every round with the pictures."""
    uploads = recordings("uploads")
    training = gs.LocalTraining("fedsgd", 1, 1, 1, RATE, "eval")
    # What the server can do: it has no truth to compare with.
    seen = uploads[0].observation(network(), SHAPE, training)
    found = gs.attacks.InvertingGradients(iterations=50)(seen)
    print(
        f"round 1: matching loss {float(found.matching_loss):.3f}, labels {found.labels.tolist()}"
    )
    # What the owners of the pictures can do: leakage by round, in dB.
    models = networks_by_round(uploads, network())
    result = gs.audit(models, images, labels, training, budget=budget, aux=public)
    print(f"{result.decibel:.1f} dB, {result.worst.verdict}: {result.save('audit')}")
    return result


if __name__ == "__main__":
    from flwr.simulation import run_simulation  # pip install "flwr[simulation]"

    run_simulation(server_app, client_app, num_supernodes=3)
    audit()
