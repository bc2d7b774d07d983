"""What answers at the usual addresses: who it says it is, asked briefly, and nothing else sent."""

import json
import socket

import pytest

import benchsuite.discovery
from benchsuite.discovery import discover, importable
from benchsuite.driver import load
from benchsuite.types import Target


def answering(body, headers=b""):
    data = json.dumps(body).encode()

    def script(peer):
        while peer.request() is not None:
            peer.answer(b"HTTP/1.1 200 OK\r\n" + headers + b"Content-Length: %d\r\n\r\n" % len(data) + data)

    return script


VLLM = answering({"data": [{"id": "org/m", "owned_by": "vllm"}]})


def stuck(peer):
    """Reads, and never answers."""
    peer.request()
    peer.server.stop.wait(30)


@pytest.fixture
def installed(monkeypatch):
    """`installed(vllm=url, …)`: these drivers, at these addresses; an error: it can't be imported."""

    def install(**addresses):
        drivers = {}
        for name, url in addresses.items():
            drivers[name] = url
            if isinstance(url, str):
                drivers[name] = type(name, (type(load(name)),), {"default_url": url})()

        def loaded(name):
            if isinstance(drivers[name], Exception):
                raise drivers[name]
            return drivers[name]

        monkeypatch.setattr(benchsuite.discovery, "backends", lambda: drivers)
        monkeypatch.setattr(benchsuite.discovery, "load", loaded)

    return install


def free_url():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_every_address_is_asked_and_each_server_says_who_it_is(serve, installed):
    vllm = serve(VLLM)
    llamacpp = serve(answering({"build_info": "b1", "default_generation_settings": {"n_ctx": 8}}))
    installed(vllm=vllm.url, llamacpp=llamacpp.url, mlx=free_url())
    found = discover()
    assert [(one.backend, one.url) for one in found] == [("vllm", vllm.url), ("llamacpp", llamacpp.url)]
    assert found[0].title == "vLLM" and found[0].identity.models == ("org/m",)


def test_of_drivers_that_share_an_address_the_one_that_knows_the_server_is_found(serve, installed):
    server = serve(VLLM)
    installed(llamacpp=server.url, vllm=server.url)
    assert [one.backend for one in discover()] == ["vllm"]
    assert all(heard.line.startswith("GET ") and not heard.body for heard in server.heard)


def test_nobody_and_strangers_are_not_found(serve, installed):
    installed(vllm=free_url(), mlx=serve(answering({"hello": "there"})).url)
    assert discover() == ()
    installed()
    assert discover() == ()


def test_a_stuck_server_is_asked_by_one_driver_only(serve, installed):
    server = serve(stuck)
    installed(vllm=server.url, transformers=server.url)
    assert discover() == ()
    paths = {call.path for call in load("vllm").identify(Target(backend="vllm", url=server.url))}
    assert {heard.line.split()[1] for heard in server.heard} <= paths
    server.stop.set()


def test_a_server_that_trickles_is_given_up(serve, installed):
    def trickling(peer):
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not peer.server.stop.wait(0.05):
            peer.send(b" ")

    server = serve(trickling)
    installed(vllm=server.url)
    assert discover() == ()
    server.stop.set()


def test_only_this_machine_is_asked(installed, monkeypatch):
    monkeypatch.setattr(benchsuite.discovery, "resolve", lambda target, connection: 1 / 0)
    installed(vllm="http://192.0.2.1:8000", openai="")
    assert discover() == ()
    installed(vllm="http://localhost:1")
    with pytest.raises(ZeroDivisionError):
        discover()


def test_a_driver_that_can_not_be_imported_is_left_out(serve, installed):
    installed(broken=ImportError("no module"), vllm=serve(VLLM).url)
    assert [one.backend for one in discover()] == ["vllm"]
    assert [driver.name for driver in importable(leave_out=frozenset({"vllm"}))] == []


def test_the_simulator_is_not_offered(serve, installed):
    server = serve(answering({"server": "benchsuite-sim", "version": "1"}))
    installed(sim=server.url)
    assert discover() == () and server.heard == []
    assert [one.backend for one in discover(leave_out=frozenset())] == ["sim"]
