"""The simulator's connections, its start and its end."""

import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from urllib.parse import urlsplit

import psutil
import pytest
import trustme

from benchsuite.errors import TargetError, UsageError
from benchsuite.simulator import SimConfig, read_truth, running, serve
from benchsuite.simulator import server as server_module
from benchsuite.simulator.wakeup import SelectorPoller
from benchsuite.types import Tape
from benchsuite.wire import openai

CHAT = "/v1/chat/completions"
FAST = {"ttft_ms": 0, "itl_ms": 0}
NEVER = {"ttft_ms": 600_000}


def connect(url, context=None):
    parts = urlsplit(url)
    if parts.scheme == "https":
        return http.client.HTTPSConnection(parts.hostname, parts.port, context=context, timeout=30)
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)


def chat(**more):
    return {"messages": [{"role": "user", "content": "word"}], "stream": True, **more}


def ask(client, body):
    client.request("POST", CHAT, json.dumps(body))
    return client.getresponse()


def once(url, body):
    """One request on a connection of its own: its answer's body."""
    client = connect(url)
    try:
        return ask(client, body).read()
    finally:
        client.close()


def decoded(data):
    """What the dialect's own reader makes of it."""
    return openai.decode(Tape(index=0, status=200, body=data, read_ns=(1,), read_ends=(len(data),)))


# ---------------------------------------------------------------- connections


def test_connections_are_kept_unless_told_otherwise():
    with running(SimConfig(**FAST)) as simulator:
        client = connect(simulator.url)
        client.connect()
        kept = client.sock
        for _ in range(3):
            assert ask(client, chat(max_tokens=2)).read()
        assert client.sock is kept
        client.close()
    with running(SimConfig(keep_alive=False, **FAST)) as simulator:
        client = connect(simulator.url)
        response = ask(client, chat(max_tokens=2))
        assert decoded(response.read()).complete
        assert response.headers["Connection"] == "keep-alive"
        assert client.sock.recv(1) == b""
        client.close()


def test_http10_answers_end_with_the_connection():
    with running(SimConfig(http10=True, **FAST)) as simulator:
        client = connect(simulator.url)
        response = ask(client, chat(max_tokens=3))
        assert (response.version, response.headers["Transfer-Encoding"]) == (10, None)
        assert len(decoded(response.read()).texts) == 3
        assert client.sock is None
        response = ask(client, chat(max_tokens=3) | {"stream": False})
        assert json.loads(response.read())["usage"]["completion_tokens"] == 3
        client.close()


def test_requests_may_come_in_pieces_and_behind_each_other():
    with running(SimConfig(ttft_ms=2, itl_ms=1)) as simulator:
        parts = urlsplit(simulator.url)
        body = json.dumps(chat(max_tokens=2)).encode()
        head = b"POST %b HTTP/1.1\r\nContent-Length: %d\r\n" % (CHAT.encode(), len(body))
        with socket.create_connection((parts.hostname, parts.port)) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for i, byte in enumerate(head + b"\r\n" + body):
                sock.send(bytes([byte]))
                if not i % 40:
                    time.sleep(0.001)
            sock.sendall((head + b"\r\n" + body) * 3 + head + b"Connection: close\r\n\r\n" + body)
            heard = b"".join(iter(lambda: sock.recv(1 << 16), b""))
    assert heard.count(b"HTTP/1.1 200 OK") == heard.count(b"data: [DONE]") == 5


@pytest.mark.parametrize("secure", [False, True])
def test_a_slow_reader_gets_all_of_a_long_answer(secure, tmp_path):
    config, context = SimConfig(**FAST), None
    if secure:
        authority = trustme.CA()
        issued = authority.issue_cert("127.0.0.1")
        cert, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
        issued.cert_chain_pems[0].write_to_path(cert)
        issued.private_key_pem.write_to_path(key)
        context = ssl.create_default_context()
        authority.configure_trust(context)
        config = SimConfig(tls_cert=cert, tls_key=key, **FAST)
    with running(config) as simulator:
        assert simulator.url.startswith("https://" if secure else "http://")
        client = connect(simulator.url, context)
        response = ask(client, chat(max_tokens=60_000))
        time.sleep(0.2)
        assert len(decoded(response.read()).texts) == 60_000
        assert len(decoded(ask(client, chat(max_tokens=2)).read()).texts) == 2
        client.close()


# ---------------------------------------------------------------- life and end


def test_it_ends_with_its_block_and_writes_what_was_under_way(tmp_path):
    path = str(tmp_path / "truth")
    with running(SimConfig(truth_path=path, role_chunk="early", **NEVER)) as simulator:
        client = connect(simulator.url)
        response = ask(client, chat())
    with pytest.raises(http.client.IncompleteRead):
        response.read()
    client.close()
    assert not psutil.pid_exists(simulator.pid)
    assert [entry.outcome for entry in simulator.truth()] == ["cut_off"]


def test_the_truth_can_be_read_while_it_runs(tmp_path):
    with running(SimConfig(truth_path=str(tmp_path / "truth"), **FAST)) as simulator:
        once(simulator.url, chat(max_tokens=2))
        for _ in range(500):
            if simulator.truth():
                break
            time.sleep(0.01)
        assert len(simulator.truth()) == 1
    with running(SimConfig(**FAST)) as simulator, pytest.raises(UsageError, match="truth_path"):
        simulator.truth()


def test_an_address_that_is_taken_is_told():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = SimConfig(port=taken.getsockname()[1])
        with pytest.raises(TargetError, match="another port"), running(config):
            pass


def test_the_module_stops_at_a_signal_and_imports_little(tmp_path):
    argv = [sys.executable, "-X", "importtime", "-m", "benchsuite.simulator", "--config", '{"port": 0}']
    with (
        (tmp_path / "imports").open("w+") as told,
        subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=told) as process,
    ):
        url = json.loads(process.stdout.readline())["url"]
        assert decoded(once(url, chat(max_tokens=1))).complete
        process.terminate()
        assert process.wait(30) == 0
    imported = (tmp_path / "imports").read_text()
    assert "httptools" in imported
    assert not [name for name in ("numpy", "asyncio", "rich", "click", "psutil") if f" {name}\n" in imported]


def test_it_serves_in_this_process_and_without_epoll(monkeypatch, tmp_path):
    monkeypatch.setattr(server_module, "make_poller", SelectorPoller)
    path = str(tmp_path / "truth")
    reader, writer = os.pipe()
    ready, urls = threading.Event(), []
    config = SimConfig(ttft_ms=5, itl_ms=2, truth_path=path)
    thread = threading.Thread(
        target=serve, args=(config, lambda url: (urls.append(url), ready.set())), kwargs={"stop_fd": reader}
    )
    thread.start()
    try:
        assert ready.wait(10)
        assert len(decoded(once(urls[0], chat(max_tokens=5))).texts) == 5
    finally:
        os.close(writer)
        thread.join()
        os.close(reader)
    (entry,) = read_truth(path)
    assert entry.events_ns[-1] - entry.received_ns >= 13_000_000
