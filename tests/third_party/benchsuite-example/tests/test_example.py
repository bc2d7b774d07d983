from pathlib import Path

from benchsuite_example import Example

from benchsuite.testing import KEY, DriverConformance, Recording, load_tape, tape
from benchsuite.types import Target


class TestExample(DriverConformance):
    driver = Example()
    target = Target(backend="example", url="http://127.0.0.1:7000", model="m", key=KEY)
    error_event = b'\n{"error":"it broke"}\n'
    usage_field = b'"out"'
    unobserved = {"exact_output": "its `words` are always exactly as many as asked for"}
    identity_tapes = (tape(b'{"example":"1.0"}'),)
    recordings = (
        Recording(
            name="chat",
            tape=load_tape(Path(__file__).parent / "chat.http"),
            events=3,
            first_text="Hello",
            last_text=".",
            prompt_tokens=5,
            output_tokens=3,
        ),
    )
