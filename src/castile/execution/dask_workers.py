"""Worker processes of a local Dask cluster: ``python -m castile.execution.dask_workers ADDRESS N FOLDER``.

They hang on a program of their own, not on the user's, so that neither a script without a ``__main__`` guard
nor an interactive session has to be imported again by every worker. The program ends, with all workers, when
its standard input does: also when the process that started it was killed.
"""

import asyncio
import logging
import os
import sys

from distributed import Nanny

LOCAL_HOST = "127.0.0.1"
_PATIENCE = 60.0  # s that a worker looks for its scheduler
_CLOSING = 5.0  # s that workers may take to close


async def run_workers(address: str, n_workers: int, folder: str) -> None:
    """Keep ``n_workers`` worker processes of one task each alive until standard input ends.

    A worker that dies is started again by its nanny.
    """
    environment = {name: os.environ[name] for name in os.environ if name.endswith("_NUM_THREADS")}
    nannies = [
        Nanny(
            address,
            host=LOCAL_HOST,
            dashboard_address=f"{LOCAL_HOST}:0",
            nthreads=1,
            name=index,
            local_directory=folder,
            env=environment,
            memory_limit=0,
            death_timeout=_PATIENCE,
            silence_logs=logging.CRITICAL,
            config={"distributed.admin.low-level-log-length": 20},  # entries hold results of past tasks
        )
        for index in range(n_workers)
    ]
    await asyncio.gather(*nannies)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await asyncio.wait_for(asyncio.gather(*(nanny.close() for nanny in nannies)), _CLOSING)


if __name__ == "__main__":
    asyncio.run(run_workers(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
