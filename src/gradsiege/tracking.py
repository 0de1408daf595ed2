"""`gradsiege track`: replay finished cells into an MLflow server, which is a view of the results and never their home.

Jobs know nothing of MLflow. This verb reads their files afterwards and writes one parent run a study and one nested
run a federation, prior or score, with the original times. It is idempotent: a cell whose digest stands on a
finished run is passed by, and a run that an interrupted replay left behind is written anew. A dead server ends the
verb within seconds and touches no result.
"""

from __future__ import annotations

import logging
import math
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from gradsiege import artifacts
from gradsiege.cells import Cell
from gradsiege.errors import ArtifactError, TrackingError
from gradsiege.inspection.status import DONE, Status, survey
from gradsiege.metrics.registry import METRICS
from gradsiege.progress import track as progress
from gradsiege.study import Study

if TYPE_CHECKING:
    import pandas as pd

EXPERIMENT = "gradsiege"
TRACKED = ("prior", "federate", "score")
# MLflow's SQL stores turn infinity into 1.8e308, which ruins every axis; a perfect copy has an infinite PSNR.
PSNR_CAP = 100.0
SECONDS_TO_ANSWER = 5
# Set before MLflow is imported: by default it retries for four minutes, and it reports usage.
ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": str(SECONDS_TO_ANSWER),
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
MOST_METRICS, MOST_PARAMETERS = 1000, 100  # in one request


@dataclass
class Replay:
    """What one run will hold.

    Attributes:
        metrics: rows of (name, value, step, seconds since the epoch).
        flags: further tags.
    """

    metrics: list[tuple[str, float, int, float]] = field(default_factory=list)
    flags: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, value: float, step: int, when: float) -> None:
        """Keep a finite number; MLflow has no honest place for the others."""
        if math.isfinite(value):
            self.metrics.append((name, float(value), step, when))


def track(study: Study, root: Path, uri: str) -> str:
    """Replay finished cells into the server at `uri`; return what was done in one sentence or more.

    Args:
        study: the resolved study.
        root: folder that holds ``results``.
        uri: an MLflow tracking URI: ``sqlite:///mlflow.db``, ``http://host:5000``, ...

    Raises:
        TrackingError: MLflow is not installed, or the server cannot be reached or refuses.
    """
    _probe(uri)
    with _translated(uri):
        server = Server(uri, study)
        known = server.finished()
        added = skipped = stale = 0
        problems: list[str] = []
        surveyed = survey(study, root)
        found = [one for stage in TRACKED for one in surveyed[stage]]
        for place in progress(range(len(found)), len(found), "track"):
            one = found[place]
            if one.state not in DONE:
                stale += bool(one.manifest)
                continue
            if one.manifest["digest"] in known:
                skipped += 1
                continue
            try:
                replay = read(one.cell, one.manifest, study, root)
            except ArtifactError as error:
                problems.append(str(error))
                continue
            server.write(one, replay)
            added += 1
        server.close()
    text = f"{shown(uri)}: {added} runs added, {skipped} already there, {len(problems)} damaged"
    text += f", {stale} stale cells left out" if stale else ""
    return "\n".join([text, *problems])


def read(cell: Cell, manifest: dict[str, Any], study: Study, root: Path) -> Replay:
    """Read the numbers of one finished cell."""
    folder = cell.folder(study, root)
    start = float(manifest["started"])
    end = float(manifest.get("ended", start + manifest["seconds"]))
    if cell.stage == "federate":
        return _utility(artifacts.read_table(folder / "utility.parquet"), start, end)
    if cell.stage == "score":
        several = len(study.threat_models) > 1
        return _scores(artifacts.read_table(folder / "scores.parquet"), several, end)
    replay = Replay()
    for name, value in artifacts.read_json(folder / "card.json").items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            replay.add(name, value, 0, end)
    return replay


def _utility(table: pd.DataFrame, start: float, end: float) -> Replay:
    """Utility by round; the rounds are spread evenly over the time that the job took."""
    replay = Replay()
    last = max(int(table["round"].max()), 1)
    for row in table.to_dict("records"):
        step = int(row["round"])
        for name in ("accuracy", "macro_f1", "micro_f1", "loss"):
            replay.add(name, float(row[name]), step, start + (end - start) * step / last)
    return replay


def _scores(table: pd.DataFrame, several: bool, end: float) -> Replay:
    """Mean of every metric over the images of an attack or control, as ``metric/attack``.

    Failed images have no metrics and are counted under ``failed``. An infinite PSNR counts as `PSNR_CAP` and is
    counted under ``perfect``.
    """
    replay = Replay()
    for (threat, attack), rows in table.groupby(["threat_model", "attack"], sort=False):
        name = f"{threat}/{attack}" if several and threat else str(attack)
        perfect = int(rows["psnr"].eq(math.inf).sum())
        if perfect:
            replay.flags["gradsiege.psnr_capped"] = f"{PSNR_CAP:g} dB"
            replay.add(f"perfect/{name}", perfect, 0, end)
        for metric in (*METRICS, "matching_loss", "label_accuracy", "identified"):
            if metric in rows:
                values = rows[metric].astype(float)
                if metric == "psnr":
                    values = values.clip(upper=PSNR_CAP)
                replay.add(f"{metric}/{name}", float(values.mean()), 0, end)
        replay.add(f"failed/{name}", float(rows["status"].eq("failed").sum()), 0, end)
        replay.add(f"images/{name}", len(rows), 0, end)
    return replay


class Server:
    """The runs of one study on one MLflow server; the only place where MLflow is imported."""

    def __init__(self, uri: str, study: Study) -> None:
        os.environ.update(ENVIRONMENT)
        try:
            from mlflow import MlflowClient
        except ImportError as error:
            raise TrackingError(
                'MLflow is not installed; pip install "gradsiege[pipeline]" brings it.'
            ) from error
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        self.study = study
        self.client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        self.experiment = self._experiment()
        self.parent: str = ""
        self.first, self.last = math.inf, 0.0

    def _experiment(self) -> str:
        found = self.client.get_experiment_by_name(EXPERIMENT)
        if found is None:
            return str(self.client.create_experiment(EXPERIMENT))
        if found.lifecycle_stage == "deleted":
            raise TrackingError(
                f"the experiment {EXPERIMENT!r} is deleted on the server; restore it with "
                f"mlflow experiments restore --experiment-id {found.experiment_id}"
            )
        return str(found.experiment_id)

    def _runs(self, role: str) -> Iterator[Any]:
        chosen = (
            f"tags.`gradsiege.study` = '{self.study.study}' and tags.`gradsiege.role` = '{role}'"
        )
        token = None
        while True:
            page = self.client.search_runs(
                [self.experiment], filter_string=chosen, max_results=1000, page_token=token
            )
            yield from page
            token = page.token
            if not token:
                return

    def finished(self) -> set[str]:
        """Return the digests of all runs that were written to their end, and delete the others."""
        digests = set()
        for run in list(self._runs("cell")):
            if run.info.status in ("FINISHED", "FAILED"):
                digests.add(run.data.tags.get("gradsiege.digest", ""))
            else:
                self.client.delete_run(run.info.run_id)
        return digests

    def _open_parent(self, start: float) -> None:
        """Find or make the run of the whole study."""
        existing = next(iter(self._runs("study")), None)
        if existing is not None:
            self.parent = existing.info.run_id
            self.last = (existing.info.end_time or 0) / 1000
            return
        tags = self._tags("study") | {"mlflow.note.content": self.study.description}
        run = self.client.create_run(
            self.experiment, _milliseconds(start), tags, run_name=self.study.study
        )
        self.parent = run.info.run_id

    def _tags(self, role: str) -> dict[str, str]:
        return {"gradsiege.study": self.study.study, "gradsiege.role": role}

    def write(self, one: Status, replay: Replay) -> None:
        """Write one nested run; its end time is set last, which makes it count as written."""
        from mlflow.entities import Metric, Param

        manifest, cell = one.manifest, one.cell
        start = float(manifest["started"])
        end = float(manifest.get("ended", start + manifest["seconds"]))
        if not self.parent:
            self._open_parent(start)
        self.last = max(self.last, end)
        environment = manifest["environment"]
        tags = self._tags("cell") | {
            "mlflow.parentRunId": self.parent,
            "mlflow.source.git.commit": environment["commit"],
            "gradsiege.stage": cell.stage,
            "gradsiege.cell": cell.key,
            "gradsiege.digest": manifest["digest"],
            "gradsiege.commit": environment["commit"],
            "gradsiege.device": environment["device"],
            **replay.flags,
        }
        if manifest["reason"]:
            tags["gradsiege.reason"] = manifest["reason"][:5000]
        if environment.get("slurm_job"):
            tags["gradsiege.slurm_job"] = environment["slurm_job"]
        name = f"{cell.stage} {cell.key}"
        run = self.client.create_run(self.experiment, _milliseconds(start), tags, run_name=name)
        metrics = [
            Metric(key, value, _milliseconds(when), step)
            for key, value, step, when in replay.metrics
        ]
        metrics.append(Metric("seconds", float(manifest["seconds"]), _milliseconds(end), 0))
        parameters = [
            Param(key, value[:5000]) for key, value in flat(manifest["settings"]).items()
        ][:MOST_PARAMETERS]
        self.client.log_batch(run.info.run_id, params=parameters)
        for first in range(0, len(metrics), MOST_METRICS):
            self.client.log_batch(run.info.run_id, metrics=metrics[first : first + MOST_METRICS])
        status = "FAILED" if manifest["status"] == "failed" else "FINISHED"
        self.client.set_terminated(run.info.run_id, status, _milliseconds(end))

    def close(self) -> None:
        """Let the study's own run end with the last of its cells, if any were added."""
        if self.parent:
            self.client.set_terminated(self.parent, "FINISHED", _milliseconds(self.last))


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested settings as dotted names and text.

    >>> flat({"attack": {"name": "gi_pip", "parameters": {}}, "victims": 8})
    {'attack.name': 'gi_pip', 'victims': '8'}
    """
    out: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            out |= flat(value, f"{prefix}{key}.")
        else:
            out[prefix + key] = str(value)
    return out


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _probe(uri: str) -> None:
    """Refuse at once what MLflow would try for minutes: a closed port, a database in no folder."""
    parts = urlsplit(uri)
    scheme = parts.scheme.split("+")[0]
    if scheme == "sqlite":
        _probe_file(uri, Path(parts.path.removeprefix("/")))
        return
    if scheme in ("", "file"):
        raise TrackingError(
            f"{uri}: MLflow no longer writes to plain folders; use sqlite:///mlflow.db or a server."
        )
    if scheme not in PORTS:
        return
    try:
        address = (parts.hostname or "localhost", parts.port or PORTS[scheme])
        socket.create_connection(address, timeout=SECONDS_TO_ANSWER).close()
    except (OSError, ValueError) as error:
        raise TrackingError(_unreachable(uri, error)) from error


def _probe_file(uri: str, path: Path) -> None:
    """Refuse a path that SQLite cannot write to or that holds something else."""
    if not path.parent.is_dir():
        raise TrackingError(f"{uri}: the folder {path.parent} does not exist.")
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise TrackingError(f"{uri}: {path} cannot be written.")
    if path.exists() and path.stat().st_size:
        with path.open("rb") as stream:
            if stream.read(16) != b"SQLite format 3\0":
                raise TrackingError(f"{uri}: {path} is not an SQLite database.")


def shown(uri: str) -> str:
    """Return a URI without the user and password that it may hold.

    >>> shown("postgresql://me:secret@host:5432/db")
    'postgresql://host:5432/db'
    """
    head, separator, rest = uri.partition("://")
    return head + separator + rest.rpartition("@")[2]


def _unreachable(uri: str, error: Exception) -> str:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return (
        f"the tracking server {shown(uri)} cannot be used: {reason[:300]}. No result was changed; "
        "run the same command again when it answers."
    )


@contextmanager
def _translated(uri: str) -> Iterator[None]:
    """Turn the errors of MLflow, of the network and of the database into one sentence."""
    try:
        yield
    except (TrackingError, ArtifactError):
        raise
    except Exception as error:
        origin = type(error).__module__.split(".")[0]
        if origin in ("mlflow", "requests", "urllib3", "sqlalchemy", "sqlite3") or isinstance(
            error, OSError | ImportError
        ):
            raise TrackingError(_unreachable(uri, error)) from error
        raise
