"""What two manifests differ in, and which of it is told."""

from pathlib import Path

import msgspec

from benchsuite.differences import asked_differently, differs_in, obstacles
from benchsuite.types import Lengths, Price, Run

CHAT = Path(__file__).parent / "report" / "chat.json"
BASE = msgspec.structs.replace(msgspec.json.decode(CHAT.read_bytes(), type=Run).manifest, price=None)


def replaced(value, **changes):
    return msgspec.structs.replace(value, **changes)


def test_other_lists_of_the_same_workload_are_allowed_and_told():
    changed = {"concurrency": (1, 8), "seconds": 10.0, "trials": 5, "arrivals": "constant"}
    other = replaced(BASE, workload=replaced(BASE.workload, **changed))
    assert obstacles(BASE, other) == ()
    told = {each.name: (each.base, each.other) for each in asked_differently(BASE, other)}
    assert told == {"concurrency": ("1, 8, 64", "1, 8"), "seconds": ("25", "10"), "trials": ("3", "5")}


def test_what_differs_is_listed_and_seed_and_nonce_are_not():
    engine = "python -P -m server --model ~/a.gguf --port 1 --threads {} --slots 8"
    other = replaced(
        BASE,
        backend="local",
        model="other",
        gpu="L4",
        attached=False,
        endpoint="completions",
        version="0.2.0",
        seed=7,
        nonce="other",
        engine={"tp": "2"},
        labels={"branch": "fix"},
        connection={"proxy": "through a proxy"},
        identity=replaced(BASE.identity, version="0.34.0", slots=8, details={"quantization": "Q8_0"}),
        machine=replaced(BASE.machine, id="fedcba9876543210"),
        lengths=Lengths(words=(), overhead=0, source="assumed"),
        launch_command=engine.format(4),
    )
    told = {each.name: (each.base, each.other) for each in differs_in(BASE, other)}
    assert told == {
        "backend": ("openai", "local"),
        "server": ("vLLM 0.33.0", "vLLM 0.34.0"),
        "model": ("meta-llama/Llama-3.1-8B-Instruct", "other"),
        "slots": ("256", "8"),
        "GPU": ("H100", "L4"),
        "started by": ("somebody else", "benchsuite"),
        "endpoint": ("chat", "completions"),
        "prompt lengths": ("fitted to the server", "assumed"),
        "client machine": ("Xeon, 8 cores, 32 GiB (012345)", "Xeon, 8 cores, 32 GiB (fedcba)"),
        "benchsuite": ("0.1.0", "0.2.0"),
        "quantization": ("bf16", "Q8_0"),
        "engine tp": ("–", "2"),
        "launch threads": ("–", "4"),
        "connection proxy": ("–", "through a proxy"),
        "label branch": ("main", "fix"),
    }
    again = replaced(other, launch_command=engine.format(2).replace("--port 1", "--port 2"))
    assert [(each.name, each.other) for each in differs_in(other, again)] == [("launch threads", "2")]
    assert differs_in(BASE, BASE) == ()
    json = [replaced(other, launch_command=f"sim --config '{{\"port\": {port}}}'") for port in (1, 2)]
    assert differs_in(*json) == ()


def test_a_price_is_told_with_its_source_and_date():
    priced = replaced(
        BASE, price=Price(gpu="L4", count=2, usd_per_gpu_hour=0.9, source="list", date="2026-11-01")
    )
    stated = replaced(BASE, price=Price(gpu="L4", usd_per_gpu_hour=1.5, source="stated"))
    (told,) = differs_in(priced, stated)
    assert told.base == "2 × L4 at $0.9 an hour, list 2026-11-01"
    assert told.other == "1 × L4 at $1.5 an hour, stated"


def test_options_of_a_launch_have_all_their_values_and_no_other_options():
    base = replaced(BASE, launch_command="serve m --lora a=1 b=2 --eager -O 3 --bias -1 --tp=2 extra")
    told = {each.name: each.base for each in differs_in(base, replaced(base, launch_command="serve m"))}
    assert told == {
        "launch lora": "a=1 b=2",
        "launch eager": "yes",
        "launch bias": "-1",
        "launch tp": "2",
    }
