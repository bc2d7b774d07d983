"""Calls beside the measured ones: `--extra-body` is for requests to the model, not for these."""

from collections.abc import Mapping
from typing import Any

import msgspec

from benchsuite.types import Call, Target
from benchsuite.wire import calls


def post(target: Target, where: str, body: Mapping[str, Any] | None = None) -> Call:
    """A POST of JSON, or of nothing, with the target's key; `where` is a path below the target's URL."""
    bare = msgspec.structs.replace(target, extra_body={})
    if body is None:
        return Call(method="POST", path=where, headers=calls.headers(bare))
    return calls.post(bare, where, body, accept="application/json")
