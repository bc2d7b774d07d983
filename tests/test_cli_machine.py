import socket
import struct

import pytest

from benchsuite.cli import main
from benchsuite.cli.doctor import _engines, _stamps
from benchsuite.driver import load
from benchsuite.errors import TargetError
from benchsuite.store.runs import Store
from benchsuite.telemetry.machine import fingerprint


def test_doctor_judges_stamps_though_the_first_bytes_have_none(monkeypatch, capsys):
    monkeypatch.setattr("benchsuite.engine.clock.enable_kernel_stamps", lambda sock: True)
    late = iter([[], [], [(1, 37, struct.pack("@qq", 1, 5))]])

    class Client(socket.socket):
        def recvmsg(self, *sizes):
            data, _, flags, address = super().recvmsg(*sizes)
            return data, next(late, []), flags, address

    monkeypatch.setattr("socket.socket", Client)
    assert _stamps().found == "the kernel's" and next(late, None) is None
    assert _stamps().level == "note"


def test_nothing_is_measured_for_a_store_that_can_not_be_written(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("benchsuite.run.run", None)
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("benchsuite.selftest.measure_level", None)
    for command in ("selftest", "run"):
        assert main([command, "--store", str(tmp_path / "file" / "store")]) == 2
        assert "choose another with --store" in capsys.readouterr().err


def test_a_machine_is_told_apart_by_a_secret_that_only_a_store_keeps(tmp_path):
    store = Store(tmp_path / "store")
    assert fingerprint(store.path).id != fingerprint(store.path).id
    assert not store.path.exists()
    store.prepare()
    assert fingerprint(store.path).id == fingerprint(store.path).id


@pytest.fixture
def startable(monkeypatch):
    """`startable(names)`: engines that are there; those of other drivers are missing."""

    def prepare(*names):
        def prepared(launch, environment="", chosen=""):
            if environment not in names:
                raise TargetError(launch.missing)
            return launch, "python"

        monkeypatch.setattr("benchsuite.servers.launch.prepared", prepared)

    return prepare


def test_doctor_says_which_engines_can_be_started_here(startable, monkeypatch):
    monkeypatch.setattr("benchsuite.discovery.backends", lambda: ("local", "mlx", "openai", "sim", "vllm"))
    startable("vllm")
    assert list(_engines()) == [
        ("ok", "engines", "vllm can start; not found: mlx", "benchsuite run --backend vllm")
    ]
    startable("mlx", "vllm")
    assert [finding.found for finding in _engines()] == ["mlx, vllm can start"]
    startable()
    (finding,) = _engines()
    assert (finding.level, finding.found) == ("note", "not found: mlx, vllm")
    assert "benchsuite run --backend mlx` says how to get it" in finding.advice
    monkeypatch.setattr("benchsuite.discovery.backends", dict)
    assert list(_engines()) == []


def test_a_backend_lists_the_settings_of_its_engine_with_what_they_mean(capsys):
    assert main(["backends", "vllm"]) == 0
    shown = capsys.readouterr().out.partition("\nSettings where")[2].splitlines()
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in shown if line[:2] == "  "}
    settings = load("vllm").settings
    assert list(rows) == list(settings)
    assert rows["tp"] == settings["tp"].help
    assert rows["eager"] == f"{settings['eager'].help} (on or off)"
    assert main(["backends", "openai"]) == 0
    assert "--engine" not in capsys.readouterr().out


def test_simulate_reaches_every_field_of_its_configuration(monkeypatch, capsys):
    from benchsuite.cli.simulate import simulate
    from benchsuite.simulator import SimConfig
    from benchsuite.simulator.batch_config import BatchConfig

    batches = {f"batch_{field}" for field in BatchConfig.__struct_fields__} - {"batch_seed"}
    fields = {*SimConfig.__struct_fields__} - {"batches"}
    assert {param.name for param in simulate.params} == fields | batches
    served = []

    def serve(config, on_ready):
        served.append(config)
        on_ready("http://127.0.0.1:8089")

    monkeypatch.setattr("benchsuite.simulator.serve", serve)
    assert main(["simulate"]) == 0
    words = "--ttft 0.08s --itl 5 --error-500 10% --no-usage --stall-for 2 --truth truth.jsonl --port 0"
    words += " --batch-time 1m --batch-fail 5%"
    assert main(["simulate", *words.split()]) == 0
    assert served == [
        SimConfig(port=8089),
        SimConfig(
            ttft_ms=80.0,
            itl_ms=5.0,
            error_500_rate=0.1,
            usage=False,
            stall_s=2.0,
            truth_path="truth.jsonl",
            batches=BatchConfig(seconds=60.0, fail_rate=0.05),
        ),
    ]
    assert "benchsuite run --backend sim --url http://127.0.0.1:8089" in capsys.readouterr().out
