"""The embedded engine: llama.cpp's server in this process, run as `python -m benchsuite.servers.llamacpp`.

It says what it does on stderr, which the guardian keeps in a file, and ends at once on SIGTERM or
SIGINT. Context is per slot, as everywhere in benchsuite; llama.cpp itself counts all slots' together.
"""

import argparse
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

BATCH_TOKENS = 2048
MOST_SLOTS = 256
"""llama.cpp is built for no more; further requests wait in its queue, each on a thread of its own."""


def http_threads(slots: int) -> int:
    """Threads for connections: each open one holds a thread, also while it waits for a slot."""
    return slots + slots // 2 + 64


def parameters(model: str, port: int, slots: int, context: int, threads: int) -> Any:
    """`CommonParams` for an engine that only does what it is asked: no surprises in a measurement."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = model
    params.model_alias = {Path(model).stem}
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.n_parallel = min(slots, MOST_SLOTS)
    params.n_ctx = context * params.n_parallel
    params.n_batch = BATCH_TOKENS
    params.fit_params = False
    params.n_threads_http = http_threads(slots)
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.endpoint_metrics = True
    params.endpoint_slots = True
    params.ui = False
    params.cache_ram_mib = 0
    params.cache_idle_slots = False
    params.warmup = True
    params.verbosity = 2
    return params


def main() -> None:
    """Serve until told to stop; exits with 1 where the model can't be loaded."""
    parser = argparse.ArgumentParser(prog="python -m benchsuite.servers.llamacpp", description=__doc__)
    parser.add_argument("--model", required=True, help="path of a GGUF file")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--slots", type=int, default=1, help="requests in flight")
    parser.add_argument("--max-seqs", type=int, help="requests served at once [default: all in flight]")
    parser.add_argument("--context", type=int, default=2048, help="tokens per slot")
    parser.add_argument("--threads", type=int, default=max(1, (os.cpu_count() or 2) - 1))
    asked = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)

    import xllamacpp

    served = asked.slots if asked.max_seqs is None else asked.max_seqs
    if served < 1:
        sys.exit("--max-seqs is 1 or more")
    params = parameters(asked.model, asked.port, served, asked.context, asked.threads)
    params.n_threads_http = http_threads(max(asked.slots, served))
    started_s = time.monotonic()
    try:
        server = xllamacpp.Server(params)
    except RuntimeError:
        sys.exit("llama.cpp can't serve this model with these settings; its reason stands above")
    loaded_s = time.monotonic() - started_s
    print(f"model loaded in {loaded_s:.3f} s, listening on {server.listening_address}", flush=True)
    while True:
        signal.pause()


def _leave(number: int, frame: FrameType | None) -> None:
    # Nothing here is worth saving, and llama.cpp's own ending waits for answers that nobody reads.
    os._exit(0)


if __name__ == "__main__":
    main()
