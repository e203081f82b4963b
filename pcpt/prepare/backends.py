"""Where jobs run: in this process, in processes of this machine (joblib), or on a Dask cluster."""

from collections.abc import Iterator, Sequence

from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import BrokenProcessPool

from pcpt.prepare.convert import Job, Outcome, prepare_scan


def run_jobs(jobs: Sequence[Job], num_jobs: int = 1) -> Iterator[Outcome]:
    """Outcomes in the order in which jobs end, from ``num_jobs`` processes of this machine; -1
    takes one a core. When a process dies (killed, out of memory), jobs not yet done fail."""
    if num_jobs == 1 or len(jobs) < 2:
        yield from map(prepare_scan, jobs)
        return
    done: set[str] = set()
    pool = Parallel(n_jobs=num_jobs, backend="loky", return_as="generator_unordered", batch_size=1)
    try:
        for outcome in pool(delayed(prepare_scan)(job) for job in jobs):
            done.add(outcome.name)
            yield outcome
    except BrokenProcessPool as error:
        for job in jobs:
            if job.name not in done:
                yield Outcome(
                    job.name,
                    "failed",
                    error=f"a process died (out of memory?), start again to continue: {error}",
                )


def run_on_dask(jobs: Sequence[Job], scheduler: str) -> Iterator[Outcome]:
    """The same on a Dask cluster, whose workers must see the same folders and have pcpt installed.
    Jobs of a worker that dies are given to another.

    Args:
        jobs: to run.
        scheduler: address, such as tcp://10.0.0.1:8786.

    Raises:
        ValueError: Dask is not installed.
        OSError: nobody answers at the address.
    """
    try:
        from distributed import Client, as_completed
    except ImportError as error:
        raise ValueError("--backend dask needs distributed: pip install 'pcpt[dask]'") from error
    with Client(scheduler, set_as_default=False) as client:
        futures = {client.submit(prepare_scan, job, pure=False): job for job in jobs}
        for future in as_completed(futures, loop=client.loop):
            failure = future.exception()
            name = futures[future].name
            yield Outcome(name, "failed", error=str(failure)) if failure else future.result()
