"""A SLURM cluster of one node on this machine, for as long as a test runs.

Debian's slurm-wlm and munge, one GPU that is /dev/null, no accounting. `srun` inside a job does not
see SLURM_CONF, so the configuration has to stand at its default place; what stood there before is
put back. Daemons are ended by their process ids.
"""

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

CONFIGURATION = Path("/etc/slurm")
LOCK = Path(tempfile.gettempdir()) / "one-node-slurm.lock"
DAEMONS = ("munged", "slurmctld", "slurmd")
COMMANDS = (*DAEMONS, "sbatch", "srun", "squeue", "scontrol")
#: A job that is put back into the queue waits for as long as credentials last.
#: The node's memory is made up: what jobs ask for is not kept for them, but more is not let them.
SLURM_CONF = """
ClusterName=test
SlurmctldHost={host}
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CryptoType=crypto/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/completed.txt
GresTypes=gpu
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
ReturnToService=2
MinJobAge=3600
KillWait=5
OverTimeLimit=0
SchedulerParameters=sched_interval=1,batch_sched_delay=0
NodeName={host} CPUs={cpus} RealMemory=200000 Gres=gpu:1 State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
GRES_CONF = "Name=gpu File=/dev/null\n"


def missing() -> str | None:
    """Why no cluster can be started here; None if one can."""
    if os.geteuid() != 0:
        return "SLURM's daemons are started as root"
    absent = [name for name in COMMANDS if shutil.which(name) is None]
    if absent:
        return f"{', '.join(absent)} not found: apt-get install slurm-wlm munge"
    running = [
        name
        for name in DAEMONS
        # One that has ended, and that nobody has waited for (Z), is in nobody's way.
        if subprocess.run(["pgrep", "-x", "-r", "D,I,R,S,T", name], capture_output=True).returncode
        == 0
    ]
    return f"{', '.join(running)} already running here" if running else None


class Slurm:
    """`with Slurm(folder, cpus=4) as slurm:` state and logs are below `folder`."""

    def __init__(self, folder: Path, cpus: int) -> None:
        self.folder = folder
        self.cpus = cpus
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._before: dict[Path, bytes | None] = {}

    @property
    def node(self) -> str:
        return socket.gethostname().partition(".")[0]

    def __enter__(self) -> "Slurm":
        (self.folder / "state").mkdir(parents=True)
        (self.folder / "spool").mkdir()
        try:
            self._configure()
            self._start_munge()
            self._start("slurmctld", "-D", "-c")
            self._start("slurmd", "-D")
            self.wait(lambda: "idle" in self.command("sinfo", "-h", "-o", "%T"), "the node")
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _configure(self) -> None:
        values = {
            "host": self.node,
            "ports": [_free_port(), _free_port()],
            "folder": self.folder,
            "cpus": self.cpus,
        }
        files = {"slurm.conf": SLURM_CONF.format(**values), "gres.conf": GRES_CONF}
        CONFIGURATION.mkdir(exist_ok=True)
        for name, text in files.items():
            file = CONFIGURATION / name
            self._before[file] = file.read_bytes() if file.is_file() else None
            file.write_text(text)

    def _start_munge(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o600)
        places = {"key-file": key.name, "socket": "munge.socket", "pid-file": "munge.pid"}
        places |= {"log-file": "munge.log", "seed-file": "munge.seed"}
        options = [f"--{option}={self.folder / name}" for option, name in places.items()]
        self._start("munged", "--foreground", "--force", *options)
        self.wait((self.folder / "munge.socket").exists, "munged")

    def _start(self, *command: str) -> None:
        with open(self.folder / f"{command[0]}.out", "wb") as out:
            daemon = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        self._daemons.append(daemon)

    def wait(self, done: Callable[[], bool], what: str, seconds: float = 60) -> None:
        """Until `done`; in case of failure, the daemons' last words are in the error."""
        end = time.monotonic() + seconds
        while not done():
            if time.monotonic() > end:
                logs = [*self.folder.glob("*.out"), *self.folder.glob("*.log")]
                words = "\n".join(f"{log.name}: {log.read_text()[-1500:]}" for log in logs)
                raise TimeoutError(f"waited {seconds:.0f} s for {what}\n{words}")
            time.sleep(0.3)

    def command(self, *command: str) -> str:
        """What one of SLURM's commands prints; empty if it fails."""
        return subprocess.run(command, capture_output=True, text=True).stdout

    def jobs(self) -> list[dict[str, str]]:
        """All jobs of this cluster, ended ones too, as `scontrol show job` describes them."""
        text = self.command("scontrol", "--oneliner", "show", "job")
        return [
            dict(field.split("=", 1) for field in line.split() if "=" in field)
            for line in text.splitlines()
            if line.startswith("JobId=")
        ]

    def stop(self) -> None:
        if len(self._daemons) == len(DAEMONS):
            self.command("scancel", "--user=root")
        for daemon in reversed(self._daemons):
            daemon.terminate()
            try:
                daemon.wait(timeout=20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for file, content in self._before.items():
            if content is None:
                file.unlink()
            else:
                file.write_bytes(content)


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]
