"""Ollama cuts a long prompt without a word; through its compatible door nothing but the count shows it."""

import json
import os
import subprocess
import sys

from benchsuite.simulator import SimConfig, running


def test_a_prompt_that_the_server_cut_makes_the_run_invalid(tmp_path):
    environ = {**os.environ, "BENCHSUITE_STORE": str(tmp_path)}
    words = "--model sim-model --prompt-tokens 1000 --output-tokens 4 --requests 8 --trials 1 --concurrency 2"
    with running(SimConfig(engine="ollama", num_ctx=800, ttft_ms=2, itl_ms=1)) as simulator:
        run = ["run", "--backend", "openai", "--url", simulator.url, *words.split(), "--json"]
        done = subprocess.run(
            [sys.executable, "-m", "benchsuite", *run],
            env=environ,
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert done.returncode == 3, done.stderr
    (summary,) = json.loads(done.stdout)["summaries"]
    warnings = {warning["code"]: warning for warning in summary["warnings"]}
    assert warnings["prompt_cut"]["level"] == "invalid"
    expected = "the server cut the prompt of 8 of 8 requests: as few as 800 of 1000 tokens were read"
    assert warnings["prompt_cut"]["message"] == expected
