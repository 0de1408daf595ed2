"""`gradsiege track`: replay finished cells into MLflow.

Jobs know nothing of MLflow. This verb reads their files afterwards and writes one parent run per study and one nested
run a federation, prior or score, with the original times, and attaches what the study publishes to the parent. It is
idempotent: a cell whose digest stands on a finished run is passed by, a file whose checksum was noted is not sent
again, and a run that an interrupted replay left behind is written anew. A dead server ends the verb within seconds
and touches no result.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gradsiege.errors import ArtifactError
from gradsiege.pipeline.status import DONE, Status, survey
from gradsiege.progress import track as progress
from gradsiege.study import Study
from gradsiege.tracking.addresses import probe, shown, translated
from gradsiege.tracking.attachments import published, withheld
from gradsiege.tracking.reading import read
from gradsiege.tracking.server import Server

TRACKED = ("prior", "federate", "score")


def track(study: Study, root: Path, uri: str) -> str:
    """Replay finished cells into the server at `uri`; return what was done in one sentence or more.

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
    """Write what is not there yet; return how many runs that were, all counts in words, and what was damaged."""
    known = server.finished()
    surveyed = survey(study, root)
    found = [one for stage in TRACKED for one in surveyed[stage]]
    done = [one for one in found if one.state in DONE]
    stale = sum(one.state not in DONE and bool(one.manifest) for one in found)
    wanted = [one for one in done if one.manifest["digest"] not in known]
    if done:
        server.open(min(float(one.manifest["started"]) for one in done))

    def replay(one: Status) -> str:
        """Write one cell; return what is wrong with its files, if anything."""
        try:
            server.write(one, read(one.cell, one.manifest, study, root))
        except ArtifactError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(server.writers) as pool:
        waiting = [pool.submit(replay, one) for one in wanted]
        try:
            turns = progress(range(len(waiting)), len(waiting), "track")
            problems = [text for place in turns if (text := waiting[place].result())]
        except BaseException:
            # Runs that have begun are ended, or the next replay finds them unfinished and writes them anew.
            pool.shutdown(cancel_futures=True)
            raise
    added, skipped = len(wanted) - len(problems), len(done) - len(wanted)
    text = f"{added} runs added, {skipped} already there, {len(problems)} damaged"
    return added, text + (f", {stale} stale cells left out" if stale else ""), problems


def _files(server: Server, study: Study, root: Path) -> str:
    """Attach what changed to the study's own run; return what was done in words."""
    if not server.keeps_files:
        return "files: none attached, a bare database keeps none; give the address of its MLflow server"
    sent, known = server.attach(published(study, root))
    reason = withheld(study, root)
    return f"files: {sent} attached, {known} unchanged" + (f", {reason}" if reason else "")
