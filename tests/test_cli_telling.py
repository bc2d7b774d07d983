"""Plain lines say that something slow goes on every ten seconds, not every second."""

from benchsuite.cli.telling import Teller
from benchsuite.engine.trial import Interrupt
from benchsuite.types import Stage


def test_a_long_download_and_loading_are_told_now_and_then():
    lines, now = [], [0.0]
    teller = Teller(Interrupt(), echo=lines.append, clock=lambda: now[0])

    def tell(text, name="model"):
        teller(Stage(name=name, text=text))
        now[0] += 1.0

    tell("preparing the model")
    tell("loading qwen3:8b")
    for second in range(1, 12):
        tell(f"loading qwen3:8b, {second} s")
    tell("pulling qwen3:8b")
    tell("pulling qwen3:8b: pulling manifest")
    for percent in range(25):
        tell(f"pulling qwen3:8b: {percent}%")
    tell("waiting for a few short answers", "fit")
    assert lines == [
        "preparing the model",
        "loading qwen3:8b",
        "loading qwen3:8b, 10 s",
        "pulling qwen3:8b",
        "pulling qwen3:8b: 8%",
        "pulling qwen3:8b: 18%",
        "waiting for a few short answers",
    ]
