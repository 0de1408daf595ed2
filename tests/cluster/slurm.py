"""A whole Slurm on this machine, in one folder: munge, MariaDB, slurmdbd, slurmctld and slurmd with two pretended GPUs.

Of the system's own configuration it touches one link, which is removed again: the Slurm plugin of Snakemake takes every variable
named SLURM_* out of a job's environment, so that `srun` in a job looks for the configuration in its usual place. The daemons
want root, and none is left running.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = (
    "munged",
    "mariadbd",
    "mariadb-install-db",
    "slurmdbd",
    "slurmctld",
    "slurmd",
    "sbatch",
    "sacct",
)
PACKAGES = ("slurm-wlm", "munge", "slurmdbd", "mariadb-server")
ACCOUNT = "study"
USUAL = Path("/etc/slurm/slurm.conf")


def missing() -> list[str]:
    """Programs that are not installed."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    return [program for program in PROGRAMS if shutil.which(program, path=path) is None]


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody uses."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Cluster:
    """The daemons, their folder, and the environment in which Slurm's commands meet this cluster and no other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.daemons: list[subprocess.Popen[bytes]] = []
        self.environment = {
            **os.environ,
            "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin",
            "SLURM_CONF": str(folder / "slurm.conf"),
            "MYSQL_UNIX_PORT": str(folder / "mysql.sock"),
        }

    def run(self, *command: str) -> str:
        """Run one of Slurm's commands."""
        done = subprocess.run(
            command,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            cwd=self.folder,
        )
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def start(self, *command: str) -> None:
        """Start a daemon in the foreground of a session of its own."""
        log = (self.folder / f"{Path(command[0]).name}.log").open("ab")
        self.daemons.append(
            subprocess.Popen(
                command,
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        )

    def answers(self, *command: str) -> bool:
        """Whether a command succeeds."""
        done = subprocess.run(command, env=self.environment, capture_output=True, timeout=60)
        return done.returncode == 0

    def jobs(self, fields: str) -> list[dict[str, str]]:
        """What accounting knows of all jobs, their steps left out."""
        # Commands hold the usual separator.
        mark = "\x1f"
        wanted = ("--allocations", "--duplicates", "--parsable2", f"--delimiter={mark}")
        said = self.run("sacct", *wanted, f"--format={fields}")
        heads, *rows = [line.split(mark) for line in said.splitlines()]
        return [dict(zip(heads, row, strict=True)) for row in rows]

    def write(self) -> None:
        """Write every configuration file."""
        controller, node, accounting = free_ports(3)
        host, folder, user = socket.gethostname().split(".")[0], self.folder, getpass.getuser()
        for name in ("data", "state", "spool"):
            (folder / name).mkdir()
        gpus = [folder / f"gpu{number}" for number in range(2)]
        for gpu in gpus:
            gpu.touch()
        key = folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        munge = f"AuthType=auth/munge\nAuthInfo=socket={folder}/munge.sock"
        (folder / "slurm.conf").write_text(
            f"ClusterName=test\nSlurmctldHost={host}(127.0.0.1)\nSlurmUser={user}\nSlurmdUser={user}\n"
            # A job that was requeued starts again after so many seconds; the default is two minutes.
            f"{munge},cred_expire=30\n"
            f"SlurmctldPort={controller}\nSlurmdPort={node}\nStateSaveLocation={folder}/state\n"
            f"SlurmdSpoolDir={folder}/spool\nSlurmctldPidFile={folder}/slurmctld.pid\n"
            f"SlurmdPidFile={folder}/slurmd.pid\nProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\n"
            "SelectType=select/cons_tres\nSelectTypeParameters=CR_Core_Memory\nGresTypes=gpu\n"
            "AccountingStorageTRES=gres/gpu\nAccountingStoreFlags=job_comment\nJobAcctGatherType=jobacct_gather/linux\nJobRequeue=1\n"
            "MpiDefault=none\nSwitchType=switch/none\nReturnToService=2\nSchedulerParameters=sched_interval=2\n"
            "SlurmdParameters=config_overrides\nAccountingStorageType=accounting_storage/slurmdbd\n"
            f"AccountingStorageHost=127.0.0.1\nAccountingStoragePass={folder}/munge.sock\nAccountingStoragePort={accounting}\nKillWait=60\n"
            f"NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=64000 Gres=gpu:2 State=UNKNOWN\n"
            f"PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP\n"
        )
        (folder / "gres.conf").write_text(f"Name=gpu File={folder}/gpu[0-1]\n")
        (folder / "cgroup.conf").write_text("")
        database = folder / "slurmdbd.conf"
        database.write_text(
            f"{munge}\nDbdHost=localhost\nDbdAddr=127.0.0.1\nDbdPort={accounting}\nSlurmUser={user}\n"
            f"StorageType=accounting_storage/mysql\nStorageHost=localhost\nStorageUser={user}\nStorageLoc=slurm\n"
            f"PidFile={folder}/slurmdbd.pid\n"
        )
        database.chmod(0o600)

    def begin(self) -> None:
        """Start one daemon after the other, each when the one before answers."""
        folder, sock = self.folder, f"--socket={self.folder}/mysql.sock"
        self.write()
        assert not USUAL.exists(), f"this machine has a Slurm of its own: {USUAL}"
        USUAL.unlink(missing_ok=True)  # a link whose folder is gone
        USUAL.symlink_to(folder / "slurm.conf")
        own = [f"--{kind}-file={folder}/munge.{kind}" for kind in ("key", "pid", "log", "seed")]
        self.start("munged", "--foreground", "--force", f"--socket={folder}/munge.sock", *own)
        user = getpass.getuser()
        self.run(
            "mariadb-install-db",
            "--no-defaults",
            f"--datadir={folder}/data",
            f"--user={user}",
            "--auth-root-authentication-method=socket",
            "--skip-test-db",
        )
        self.start(
            "mariadbd",
            "--no-defaults",
            f"--datadir={folder}/data",
            f"--user={user}",
            "--skip-networking",
            sock,
            f"--pid-file={folder}/mysql.pid",
        )
        wait_for(lambda: self.answers("mariadb-admin", "--no-defaults", sock, "ping"))
        self.start("slurmdbd", "-D")
        wait_for(lambda: self.answers("sacctmgr", "-n", "list", "cluster"))
        self.run("sacctmgr", "-i", "add", "cluster", "test")
        self.run("sacctmgr", "-i", "add", "account", ACCOUNT, "cluster=test")
        self.run("sacctmgr", "-i", "add", "user", user, f"account={ACCOUNT}", "cluster=test")
        self.start("slurmctld", "-D")
        self.start("slurmd", "-D")
        wait_for(lambda: "idle" in self.run("sinfo", "-h", "-o", "%T"))

    def end(self) -> None:
        """Cancel what runs, and stop the daemons in the reverse order."""
        if self.answers("scontrol", "ping"):
            self.answers("scancel", "--user", getpass.getuser())
        if USUAL.is_symlink() and USUAL.readlink() == self.folder / "slurm.conf":
            USUAL.unlink()
        for daemon in reversed(self.daemons):
            daemon.terminate()
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def wait_for(happened: Callable[[], bool], seconds: float = 300) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.5)


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """A running cluster in an empty folder."""
    found = Cluster(folder)
    try:
        found.begin()
        yield found
    finally:
        found.end()
