"""`gradsiege track`: replay finished cells into MLflow.

Jobs know nothing of MLflow. This verb reads their files afterwards and writes one parent run per study and one nested
run per federation, prior or score, with the original times, and attaches the study's figures and tables to the parent. It is
idempotent: it skips a cell whose digest is on a finished run and a file whose checksum is recorded, and it
writes runs of an interrupted replay anew. If the server does not answer, the verb ends within seconds;
results never change.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gradsiege import artifacts
from gradsiege.errors import ArtifactError
from gradsiege.pipeline.status import DAMAGED, DONE, Status, survey
from gradsiege.progress import track as progress
from gradsiege.study import Study
from gradsiege.tracking.addresses import probe, shown, translated
from gradsiege.tracking.attachments import published, withheld
from gradsiege.tracking.reading import read
from gradsiege.tracking.server import Server

TRACKED = ("prior", "federate", "score")
COMPARED = "files were compared by size; `gradsiege verify` compares their contents"


def track(study: Study, root: Path, uri: str) -> str:
    """Replay finished cells into the server at `uri`; return a summary in sentences.

    Args:
        study: the resolved study.
        root: folder that holds ``results``.
        uri: an MLflow tracking URI: ``sqlite:///mlflow.db``, ``http://host:5000``, ...

    Raises:
        TrackingError: MLflow is not installed, or the server or its artifact store cannot be reached or refuses.
    """
    probe(uri)
    with translated(uri):
        server = Server(uri, study)
        added, text, problems = _cells(server, study, root)
        server.close()
    with translated(
        uri,
        "the artifact store of {} does not take files",
        f"{added} runs were added and stay; run the same command again when it takes files.",
    ):
        files = _files(server, study, root)
    return "\n".join([f"{shown(uri)}: {text}; {files}", *server.repairs, *problems])


def _cells(server: Server, study: Study, root: Path) -> tuple[int, str, list[str]]:
    """Write the missing runs; return their number, a sentence with all counts, and the problems of damaged cells."""
    known = server.finished()
    # Damaged cells of every stage, since no run stands for a study's attacks; contents are compared as they are read.
    surveyed = {
        stage: [_sized(cell_status, study, root) for cell_status in of_stage]
        for stage, of_stage in survey(study, root).items()
    }
    states = [cell_status for stage in TRACKED for cell_status in surveyed[stage]]
    done = [cell_status for cell_status in states if cell_status.state in DONE]
    stale = sum(
        cell_status.state not in DONE and bool(cell_status.manifest) for cell_status in states
    )
    unreadable = [
        cell_status.reason
        for of_stage in surveyed.values()
        for cell_status in of_stage
        if cell_status.state == DAMAGED
    ]
    wanted = [cell_status for cell_status in done if cell_status.manifest["digest"] not in known]
    if done:
        server.open(min(float(cell_status.manifest["started"]) for cell_status in done))

    def replay(cell_status: Status) -> str:
        """Write one cell; return the problem with its files, or an empty string."""
        try:
            server.write(cell_status, read(cell_status.cell, cell_status.manifest, study, root))
        except ArtifactError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(server.writers) as pool:
        waiting = [pool.submit(replay, cell_status) for cell_status in wanted]
        try:
            turns = progress(range(len(waiting)), len(waiting), "track")
            problems = [text for place in turns if (text := waiting[place].result())]
        except BaseException:
            # Runs that have begun are ended, or the next replay finds them unfinished and writes them anew.
            pool.shutdown(cancel_futures=True)
            raise
    added, skipped = len(wanted) - len(problems), len(done) - len(wanted)
    problems = unreadable + problems
    text = f"{added} runs added, {skipped} already there, {len(problems)} damaged"
    text += f", {stale} stale cells left out" if stale else ""
    return added, f"{text} ({COMPARED})", problems


def _sized(cell_status: Status, study: Study, root: Path) -> Status:
    """Look whether the files of a cell that is done are there, in their recorded sizes; their contents are not read."""
    folder = cell_status.cell.folder(study, root)
    recorded = cell_status.manifest["files"] if cell_status.state in DONE else {}
    if all(
        (folder / name).is_file() and (folder / name).stat().st_size == file["bytes"]
        for name, file in recorded.items()
    ):
        return cell_status
    try:
        problems = "; ".join(artifacts.verify_folder(folder))
    except ArtifactError as error:
        problems = str(error)
    return Status(cell_status.cell, DAMAGED, problems) if problems else cell_status


def _files(server: Server, study: Study, root: Path) -> str:
    """Attach changed files to the study's own run; return a sentence about it."""
    if not server.keeps_files:
        return "files: none attached, a bare database keeps none; give the address of its MLflow server"
    sent, known = server.attach(published(study, root))
    reason = withheld(study, root)
    return f"files: {sent} attached, {known} unchanged" + (f", {reason}" if reason else "")
