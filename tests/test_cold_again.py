"""A second run of the same seed finds a cold cache on a server that can only be kept cold by the prompts."""

import pytest

from benchsuite.asked import Options
from benchsuite.engine.trial import Interrupt
from benchsuite.run import run
from benchsuite.simulator import running
from benchsuite.store.runs import Store
from benchsuite.workload.load import load, overridden
from tests.test_prefix_groups import CACHING


def cached(workload, url, folder, nonce):
    options = Options(backend="openai", url=url, workload=workload, nonce=nonce)
    found = run(options, Store(folder), tell=lambda _: None, interrupt=Interrupt())
    rows = Store(folder).select(found.manifest.run_id).records(0, include_warm_up=True).to_pylist()
    return [one["cached_tokens"] for one in rows]


@pytest.mark.parametrize("name", ["quick", "chat", "summarise"])
def test_a_second_cold_run_finds_nothing_and_a_repeat_of_the_nonce_nearly_everything(name, tmp_path):
    workload = overridden(load(name), concurrency=2, requests=12, trials=1)
    with running(CACHING) as simulator:
        for nonce in "ab":
            found = cached(workload, simulator.url, tmp_path, nonce)
            assert len(found) > 12 and max(found) <= 16, found
        assert max(cached(workload, simulator.url, tmp_path, "a")) >= 48
