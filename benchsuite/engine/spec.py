"""What the parent tells a worker: its specification, its calls, and when to go.

The specification and the calls arrive on stdin, since both may hold keys; `go`, `drain` and
`stop` arrive on a pipe of their own, so that they never wait behind calls.
"""

import struct
from typing import Literal

from benchsuite.types import Noun, Timeouts

CALL_HEAD = struct.Struct("<IIq")
"""Length of the request's bytes, its index, its due offset in ns (-1: closed loop)."""

END_OF_CALLS = CALL_HEAD.pack(0, 0xFFFFFFFF, -1)
SPEC_HEAD = struct.Struct("<I")

GO = struct.Struct("<cq")
"""`G` and the trial's start (CLOCK_MONOTONIC ns); `D` drain: send no more; `S` stop now."""


class WorkerSpec(Noun, frozen=True, kw_only=True):
    """One worker's share of one trial.

    `slots`: most requests in flight, None for an open loop without a cap. `reuse`: whether the
    server keeps connections between requests; None: to be found out. `address` is resolved, so
    that no name is looked up while the clock runs. `spool_header` is the spool's first frame.
    `least`: requests that a closed loop sends even if its seconds are over. `waits`: a closed loop's slot
    that the server refused isn't used before the server wants to be asked again. `slot_times`: from when on
    a closed loop has how many of its slots (ns from the start, slots); empty: all of them throughout.
    `talks`: the calls are turns of conversations, and with `turns_fd` the later ones come on that pipe, as
    soon as what they quote has been spooled.
    """

    loop: Literal["closed", "open"]
    slots: int | None
    seconds: float | None
    least: int = 0
    waits: bool = False
    slot_times: tuple[tuple[int, int], ...] = ()
    family: int
    address: tuple[str | int, ...]
    server_name: str
    tls: bool
    ca_cert: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    insecure: bool = False
    proxy_connect: bytes = b""
    timeouts: Timeouts
    reuse: bool | None = None
    kernel_stamps: bool = True
    realtime: bool = False
    spool: str = ""
    spool_header: dict[str, str | int] = {}
    rotate_bytes: int = 256 * 1024 * 1024
    control_fd: int = -1
    talks: bool = False
    turns_fd: int = -1
    report_s: float = 0.25
