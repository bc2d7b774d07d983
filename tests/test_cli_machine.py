import socket
import struct

from benchsuite.cli import main
from benchsuite.cli.doctor import _stamps
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
