"""The driver that `backends/README.md` shows is complete and passes what every driver has to pass."""

import re
from pathlib import Path
from typing import Any

from benchsuite.testing import KEY, DriverConformance, Recording, load_tape, tape
from benchsuite.types import Target

ROOT = Path(__file__).parents[2]
CODE = re.findall(r"```python\n(.*?)```", (ROOT / "backends" / "README.md").read_text("utf-8"), re.DOTALL)
NAMES: dict[str, Any] = {}
exec(CODE[0], NAMES)


class TestReadme(DriverConformance):
    driver = NAMES["Mine"]()
    target = Target(backend="mine", url="http://127.0.0.1:9000", model="m", key=KEY)
    identity_tapes = (tape(b'{"mine":"1.0"}'),)
    recordings = (
        Recording(
            name="chat",
            tape=load_tape(ROOT / "tests" / "drivers" / "recordings" / "vllm" / "chat_stream.http"),
            events=32,
            first_text=" sep",
            last_text="ader",
            prompt_tokens=19,
            output_tokens=32,
            cached_tokens=0,
            finish_reason="length",
        ),
    )
