"""A whole run that is priced, against the simulator."""

import json
import sys
from types import SimpleNamespace

import pytest

from benchsuite.cli import main
from benchsuite.run import _serving_gpus, preview
from benchsuite.simulator import SimConfig, running
from benchsuite.store.runs import Store
from benchsuite.target import Options
from benchsuite.telemetry.gpu import gpus_here
from benchsuite.workload.load import load, overridden

FAST = SimConfig(ttft_ms=5.0, itl_ms=1.0)


def names():
    here = gpus_here()
    return None if here is None else tuple(gpu.name for gpu in here)


def test_a_run_is_priced_and_the_price_is_kept(tmp_path, capfd):
    words = (
        "--prompt-tokens 40 --output-tokens 8 --trials 2 --concurrency 2 --requests 20 --json "
        "--gpu-price 3.60"
    )
    with running(FAST) as simulator:
        where = ["--url", simulator.url, "--store", str(tmp_path)]
        code = main(["run", "--backend", "sim", *where, *words.split()])
    assert code in {0, 3}
    run = json.loads(capfd.readouterr().out)
    assert run["manifest"]["price"] == {
        "gpu": "",
        "count": 1,
        "usd_per_gpu_hour": 3.6,
        "source": "as stated",
        "date": "",
    }
    (row,) = run["summaries"]
    # At $3.60 an hour a second costs $0.001.
    requests, tokens = (row["rates"][name]["value"] for name in ("requests_per_s", "output_tokens_per_s"))
    assert row["rates"]["cost_per_1k_usd"]["value"] == pytest.approx(1 / requests)
    assert row["rates"]["cost_per_m_output_tokens_usd"]["value"] == pytest.approx(1000 / tokens)
    everything = 40 * requests + tokens
    assert row["rates"]["cost_per_m_tokens_usd"]["value"] == pytest.approx(1000 / everything)


def test_the_plan_has_the_price_and_the_gpus_of_a_server_on_this_machine(tmp_path):
    workload = overridden(load("quick"), prompt_tokens=40, output_tokens=8)
    with running(FAST) as simulator:
        options = Options(backend="sim", url=simulator.url, workload=workload, gpu="2xH100")
        manifest, _ = preview(options, Store(tmp_path / "store"), lambda told: None)
    assert manifest.gpu == "2xH100"
    assert (manifest.price.gpu, manifest.price.count, manifest.price.usd_per_gpu_hour) == (
        "H100 SXM",
        2,
        3.99,
    )
    # Elsewhere nobody may ask who listens.
    assert manifest.gpus == (names() if sys.platform == "linux" else None)


def test_a_trial_too_short_for_any_arrival_is_planned_without_a_request(tmp_path):
    # By chance nothing arrives in these four seconds.
    brief = overridden(load("quick"), prompt_tokens=40, output_tokens=8, rate=0.5, seconds=4)
    with running(FAST) as simulator:
        options = Options(backend="sim", url=simulator.url, workload=brief, seed=0)
        _, (_, line) = preview(options, Store(tmp_path / "store"), lambda told: None)
    assert line.endswith("nothing is due in so short a trial")


def test_nothing_is_known_of_the_gpus_of_another_machine():
    away = SimpleNamespace(url="http://10.0.0.7:8000")
    assert _serving_gpus(SimpleNamespace(attached=True, target=away)) is None
    assert _serving_gpus(SimpleNamespace(attached=False, target=away)) == names()
