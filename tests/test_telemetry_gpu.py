"""NVML's answers in its own form, from a stand-in; and where a server runs."""

import socket
import sys
from types import SimpleNamespace

import psutil
import pytest

from benchsuite.telemetry.gpu import _listener, gpus_here, serves_here


class Nvml:
    """A driver with these GPUs: their names; `broken` names a call that fails."""

    class NVMLError(Exception):
        pass

    def __init__(self, *gpus, broken=""):
        self.gpus, self.broken, self.calls = gpus, broken, []

    def _answer(self, call, value=None):
        self.calls.append(call)
        if call == self.broken:
            raise self.NVMLError("Driver/library version mismatch")
        return value

    def nvmlInit(self):
        self._answer("init")

    def nvmlShutdown(self):
        self._answer("shutdown")

    def nvmlDeviceGetCount(self):
        return self._answer("count", len(self.gpus))

    def nvmlDeviceGetHandleByIndex(self, index):
        return self._answer("handle", index)

    def nvmlDeviceGetName(self, handle):
        return self._answer("name", self.gpus[handle])


def test_gpus_are_named_as_the_driver_names_them():
    nvml = Nvml("NVIDIA H100 80GB HBM3", b"NVIDIA L4")
    assert gpus_here(nvml, ()) == ("NVIDIA H100 80GB HBM3", "NVIDIA L4")
    assert nvml.calls[-1] == "shutdown"


def test_without_a_driver_there_is_no_gpu(tmp_path):
    assert gpus_here(Nvml(broken="init"), (tmp_path / "nvidia",)) == ()


def test_a_driver_that_does_not_answer_says_nothing(tmp_path):
    assert gpus_here(Nvml(broken="init"), (tmp_path / "absent", tmp_path)) is None
    for call in ("count", "handle", "name"):
        nvml = Nvml("NVIDIA L4", broken=call)
        assert gpus_here(nvml, ()) is None
        assert nvml.calls[-1] == "shutdown"


def test_a_driver_without_gpus_says_nothing_as_a_container_may_hide_them():
    assert gpus_here(Nvml(), ()) is None


def test_a_failing_farewell_changes_nothing():
    assert len(gpus_here(Nvml("NVIDIA L4", broken="shutdown"), ())) == 1


def test_the_real_driver_or_its_absence_never_raises():
    found = gpus_here()
    assert found is None or all(found)


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://localhost:8000", True),
        ("http://127.0.0.1:8000/v1", True),
        ("http://[::1]:8000", True),
        ("https://127.1.2.3", True),
        ("http://10.0.0.7:8000", False),
        ("https://api.example.com", False),
        ("http://gpu-box:8000", False),
    ],
)
def test_a_loopback_address_is_this_machine(url, here):
    assert serves_here(url, lambda port: "vllm") is here


def test_the_near_end_of_a_tunnel_is_not_the_server():
    asked = []

    def listener(port):
        asked.append(port)
        return "ssh"

    assert not serves_here("http://localhost:8000", listener)
    assert not serves_here("http://localhost", listener) and not serves_here("https://localhost", listener)
    assert asked == [8000, 80, 443]


def test_a_listener_that_can_not_be_named_is_no_claim(monkeypatch):
    assert not serves_here("http://localhost:8000", lambda port: "")

    def denied(kind):
        raise psutil.AccessDenied

    def of_another_user(kind):
        return [SimpleNamespace(status=psutil.CONN_LISTEN, pid=None, laddr=("127.0.0.1", 8000))]

    for answer in (denied, of_another_user):
        monkeypatch.setattr(psutil, "net_connections", answer)
        assert not serves_here("http://localhost:8000")


def test_who_listens_is_found_out():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        # Elsewhere only an administrator may ask.
        assert _listener(port) == psutil.Process().name() or sys.platform != "linux"
        assert serves_here(f"http://127.0.0.1:{port}") is bool(_listener(port))
    assert _listener(port) == ""
