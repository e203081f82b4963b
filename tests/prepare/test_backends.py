"""Jobs survive the death of who runs them."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pcpt.data.frame import Frame, Scan
from pcpt.prepare import Preparation, Settings, prepare_scans, verify
from pcpt.prepare.backends import run_jobs
from pcpt.prepare.convert import Job
from tests.data import tiny_scans
from tests.data.recordings import MemoryScan


class Deadly(Scan):
    """Reading it ends the process, as running out of memory does."""

    name = "deadly"
    names = ("0",)

    def load(self, name: str) -> Frame:
        os._exit(9)


def test_a_dying_process_fails_its_jobs_and_no_more(tmp_path: Path) -> None:
    settings = Settings("memory", doctor=False)
    scans: list[Scan] = [Deadly(), MemoryScan("fine", 2, [], [])]
    jobs = [Job(scan, scan.name, tmp_path, settings) for scan in scans]
    outcomes = {outcome.name: outcome for outcome in run_jobs(jobs, 2)}
    assert outcomes["deadly"].status == "failed" and "process died" in outcomes["deadly"].error
    again = [outcome.status for outcome in run_jobs(jobs[1:], 2)]
    assert again in (["prepared"], ["kept"])


def start(*words: str) -> subprocess.Popen[bytes]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-m", *words],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def test_dask_with_a_worker_killed_midway(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="the extra dask is not installed")
    for number in range(12):
        tiny_scans.write_seven_scenes(tmp_path / "in" / f"s{number:02d}", num_frames=40)
    with distributed.LocalCluster(
        n_workers=0, processes=True, host="127.0.0.1", dashboard_address=None, silence_logs=50
    ) as cluster:
        address = cluster.scheduler_address
        words = ("distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard")
        local = ("--local-directory", str(tmp_path), "--host", "127.0.0.1")
        workers = [start(*words, "--no-nanny", *local) for _ in range(2)]
        try:
            with distributed.Client(address, set_as_default=False) as client:
                client.wait_for_workers(2, timeout=60)
            done = []

            def kill_one(outcome: object) -> None:
                done.append(outcome)
                if len(done) == 2:
                    workers[0].kill()
                    time.sleep(0.2)

            settings = Settings("seven_scenes", doctor=False)
            out = tmp_path / "out"
            task = Preparation(settings, tmp_path / "in", out, scheduler=address)
            finished = prepare_scans(task, kill_one)
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()
    assert finished.errors == {} and len(finished.outcomes) == 12
    assert all(outcome.frames == 40 for outcome in finished.outcomes)
    assert verify(out) == [] and not list(out.glob(".*.part"))
