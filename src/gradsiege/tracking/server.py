"""The runs of one study on one MLflow server."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from gradsiege.artifacts import file_digest
from gradsiege.errors import TrackingError
from gradsiege.extras import need
from gradsiege.pipeline.status import Status
from gradsiege.study import Study
from gradsiege.tracking.addresses import FILE, SECONDS_TO_ANSWER, WEB, database_file, scheme_of
from gradsiege.tracking.reading import Replay, flat

EXPERIMENT = "gradsiege"  # unless MLFLOW_EXPERIMENT_NAME says otherwise
# Lets MLflow's page open on runs and their metrics instead of traces of language models.
KIND = {"mlflow.experimentKind": "custom_model_development"}
# Set before MLflow is imported: by default it retries for four minutes, and it reports usage.
ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": str(SECONDS_TO_ANSWER),
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
# A server that has answered once is alive; a busy one may need this long for a page of runs or for a large file.
SECONDS_TO_WORK = 60
WRITERS = 4  # as many as the processes of `mlflow server`
PAGE = 200  # runs in one answer, each with all its numbers
PROXIED = "mlflow-artifacts"  # scheme of files that only a server can take
FILES, PARENT = "gradsiege.files", "mlflow.parentRunId"


class Server:
    """The runs of one study on one MLflow server; the only place where MLflow is imported.

    Attributes:
        experiment: id of the experiment; `MLFLOW_EXPERIMENT_NAME` names it, else it is `EXPERIMENT`.
        repairs: sentences about deleted runs that were restored.
        writers: number of threads that may write at a time; a database file has one writer.
        keeps_files: whether files can be attached; not if the address is a database whose files only a server can store.
    """

    def __init__(self, uri: str, study: Study) -> None:
        os.environ.update(ENVIRONMENT)
        need("mlflow", error=TrackingError)
        from mlflow import MlflowClient

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        self.study = study
        self.client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        self.repairs: list[str] = []
        experiment = self._experiment(uri)
        self.experiment = str(experiment.experiment_id)
        place = urlsplit(experiment.artifact_location).scheme
        self.keeps_files = place != PROXIED or scheme_of(uri) in WEB
        os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = str(SECONDS_TO_WORK)
        self.writers = WRITERS if scheme_of(uri) in WEB else 1
        self.parent: Any = None
        for run in list(self._runs("study")):
            if self.parent is None:
                self.parent = run
            else:  # a restored experiment may hold an earlier one
                self.client.delete_run(run.info.run_id)
        self.parent_of: dict[str, str] = {}  # of every nested run, by its id
        self.ends: list[float] = []

    def _experiment(self, uri: str) -> Any:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        experiment = self.client.get_experiment_by_name(name)
        if experiment is None:
            made = self.client.create_experiment(name, _place_of_files(uri), KIND)
            return self.client.get_experiment(made)
        if experiment.lifecycle_stage == "deleted":
            self.client.restore_experiment(experiment.experiment_id)
            self.repairs.append(f"the experiment {name!r} had been deleted and was restored")
        return experiment

    def _runs(self, role: str, deleted: bool = False) -> Iterator[Any]:
        from mlflow.entities import ViewType

        chosen = (
            f"tags.`gradsiege.study` = '{self.study.study}' and tags.`gradsiege.role` = '{role}'"
        )
        view = ViewType.DELETED_ONLY if deleted else ViewType.ACTIVE_ONLY
        token = None
        while True:
            page = self.client.search_runs(
                [self.experiment], chosen, view, max_results=PAGE, page_token=token
            )
            yield from page
            token = page.token
            if not token:
                return

    def finished(self) -> set[str]:
        """Return the digests of all runs that were written to their end, and delete the others.

        Of two runs with the same digest, which a restored experiment may hold, one is deleted too.
        """
        digests: set[str] = set()
        for run in list(self._runs("cell")):
            digest = run.data.tags.get("gradsiege.digest", "")
            if run.info.status in ("FINISHED", "FAILED") and digest not in digests:
                digests.add(digest)
                self.ends.append(run.info.end_time / 1000)
                self.parent_of[run.info.run_id] = run.data.tags.get(PARENT, "")
            else:
                self.client.delete_run(run.info.run_id)
        return digests

    def _tags(self, role: str) -> dict[str, str]:
        return {"gradsiege.study": self.study.study, "gradsiege.role": role}

    def open(self, start: float) -> None:
        """Create the study's own run unless it exists; restore a deleted one if the server still has it.

        Nested runs of a parent that is gone are moved below it. `start`: seconds since the epoch.
        """
        if self.parent is None:
            self.parent = self._restored()
        if self.parent is None:
            tags = self._tags("study") | {"mlflow.note.content": self.study.description}
            self.parent = self.client.create_run(
                self.experiment, _milliseconds(start), tags, run_name=self.study.study
            )
            if self.parent_of:
                self.repairs.append("the study's own run was gone and was made anew")
        parent_id = self.parent.info.run_id
        strays = [run for run, parent in self.parent_of.items() if parent != parent_id]
        for run in strays:
            self.client.set_tag(run, PARENT, parent_id)
            self.parent_of[run] = parent_id
        if strays:
            self.repairs.append(f"{len(strays)} nested runs were moved below it")

    def _restored(self) -> Any:
        """Restore the study's own run from the server's trash and return it, or None if there is none."""
        deleted = list(self._runs("study", deleted=True))
        if not deleted:
            return None
        nested = [*self.parent_of.values()]
        run = max(deleted, key=lambda run: (nested.count(run.info.run_id), run.info.start_time))
        self.client.restore_run(run.info.run_id)
        self.repairs.append("the study's own run had been deleted and was restored")
        return self.client.get_run(run.info.run_id)

    def write(self, cell_status: Status, replay: Replay) -> None:
        """Write one nested run; its end time is written last and marks it as complete."""
        from mlflow.entities import Metric, Param

        manifest = cell_status.manifest
        start = float(manifest["started"])
        end = float(manifest.get("ended", start + manifest["seconds"]))
        self.ends.append(end)
        run = self.client.create_run(
            self.experiment,
            _milliseconds(start),
            self._tags("cell")
            | {PARENT: self.parent.info.run_id}
            | _told(cell_status)
            | replay.flags,
            run_name=f"{cell_status.cell.stage} {cell_status.cell.key}",
        )
        metrics = [
            Metric(key, value, _milliseconds(when), step)
            for key, value, step, when in replay.metrics
        ]
        metrics.append(Metric("seconds", float(manifest["seconds"]), _milliseconds(end), 0))
        parameters = [Param(key, value[:5000]) for key, value in flat(manifest["settings"]).items()]
        # One request, unless there are more than the server takes in one.
        self.client.log_batch(run.info.run_id, metrics=metrics, params=parameters)
        status = "FAILED" if manifest["status"] == "failed" else "FINISHED"
        self.client.set_terminated(run.info.run_id, status, _milliseconds(end))

    def close(self) -> None:
        """End the study's own run at the time of its last cell."""
        ended = _milliseconds(max(self.ends, default=0))
        if self.parent is not None and (self.parent.info.end_time or 0) < ended:
            self.client.set_terminated(self.parent.info.run_id, "FINISHED", ended)

    def attach(self, files: Mapping[str, Path]) -> tuple[int, int]:
        """Send files that differ from those sent before; return the numbers of sent and of unchanged files.

        The study's own run records the name and SHA-256 of each, so that the same file is never sent twice.
        """
        if self.parent is None:
            return 0, 0
        run = self.parent.info.run_id
        lines = self.parent.data.tags.get(FILES, "").splitlines()
        noted = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
        digests = {name: file_digest(path) for name, path in files.items()}
        changed = [name for name, digest in digests.items() if noted.get(name) != digest]
        for name in changed:
            folder = PurePosixPath(name).parent.as_posix()
            self.client.log_artifact(run, str(files[name]), None if folder == "." else folder)
        if changed:
            sums = sorted((noted | digests).items())
            self.client.set_tag(run, FILES, "\n".join(f"{digest}  {name}" for name, digest in sums))
        return len(changed), len(digests) - len(changed)


def _told(cell_status: Status) -> dict[str, str]:
    """Return the tags of a cell's run."""
    manifest, environment = cell_status.manifest, cell_status.manifest["environment"]
    tags = {
        "mlflow.source.git.commit": environment["commit"],
        "gradsiege.stage": cell_status.cell.stage,
        "gradsiege.cell": cell_status.cell.key,
        "gradsiege.digest": manifest["digest"],
        "gradsiege.commit": environment["commit"],
        "gradsiege.device": environment["device"],
    }
    if manifest["reason"]:
        tags["gradsiege.reason"] = manifest["reason"][:5000]
    if environment.get("slurm_job"):
        tags["gradsiege.slurm_job"] = environment["slurm_job"]
    return tags


def _place_of_files(uri: str) -> str | None:
    """Return the default place of files: beside an SQLite database; None for a server, which has its own default.

    MLflow itself would use a folder ``mlruns`` in the current directory.
    """
    scheme = scheme_of(uri)
    if scheme == FILE:
        path = database_file(uri).resolve()
        return path.with_name(f"{path.name}.artifacts").as_uri()
    return None if scheme in WEB else f"{PROXIED}:/{EXPERIMENT}"


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
