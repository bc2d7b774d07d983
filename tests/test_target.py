"""Finding out who is there: servers that hang, speak something else, or call a model by its path."""

import contextlib
import socket
import threading

import pytest

import benchsuite.lengths
import benchsuite.target
from benchsuite.driver import load
from benchsuite.errors import TargetError, UsageError
from benchsuite.lengths import fitted
from benchsuite.servers.model import CONTEXT_TOKENS
from benchsuite.target import Options, resolved
from benchsuite.types import Target, Workload

WORKLOAD = Workload(
    name="w",
    version=1,
    description="d",
    prompt_tokens=(64,),
    output_tokens=(8,),
    concurrency=(1,),
    requests=1,
)
MODELS = b'{"data": [{"id": "m"}]}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(MODELS) + MODELS


@contextlib.contextmanager
def server(answer):
    """A server whose every connection hears once, then says `answer(heard)`; None: nothing, ever."""
    held = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    peer, _ = listener.accept()
                    held.append(peer)
                    said = answer(peer.recv(65536))
                    if said is not None:
                        peer.sendall(said)
                        peer.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for peer in held:
                peer.close()


def refusal(url, backend="openai"):
    told = []
    with (
        pytest.raises(TargetError) as caught,
        resolved(Options(backend=backend, workload=WORKLOAD, url=url), told.append),
    ):
        pass
    assert told[-1].text.startswith("waiting for ")
    return str(caught.value)


def test_a_server_that_never_answers_is_given_up_soon(monkeypatch):
    monkeypatch.setattr(benchsuite.target, "_IDENTIFY_S", 0.3)
    with server(lambda heard: None) as url:
        said = refusal(url)
    assert "takes connections but doesn't answer" in said
    assert f"`curl {url}/v1/models`" in said


def test_a_server_that_never_completes_is_given_up_soon(monkeypatch):
    monkeypatch.setattr(benchsuite.lengths, "_PROBE_S", 0.3)
    told = []
    with (
        server(lambda heard: ANSWER if heard.startswith(b"GET") else None) as url,
        resolved(Options(backend="openai", workload=WORKLOAD, url=url), told.append) as who,
        pytest.raises(TargetError, match=r"no answer to a short request within 0\.3 s"),
    ):
        fitted(who, told.append)
    assert told[-1].text.startswith("waiting for ")


@pytest.mark.parametrize(
    ("answer", "backend", "hint"),
    [
        (b"", "openai", "does it want https://?"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "openai", "does it want https://?"),
        (b"HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n", "openai", "does it want https://?"),
        (b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", "openai", "is it the base URL"),
        (b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", "sim", "--launch starts simulator on a free port"),
    ],
)
def test_what_answers_something_else_gets_a_hint_that_helps(answer, backend, hint):
    with server(lambda heard: answer) as url:
        said = refusal(url, backend)
    assert hint in said
    assert ("--backend openai" in said) == (backend != "openai")


def test_a_model_may_be_named_as_it_is_shown(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ann")
    body = b'{"data": [{"id": "/home/ann/m"}, {"id": "other"}]}'
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with server(lambda heard: answer) as url:
        options = Options(backend="openai", workload=WORKLOAD, url=url, model="~/m")
        with resolved(options, lambda _: None) as who:
            assert who.target.model == "/home/ann/m"


def test_more_context_than_a_made_model_has_is_refused_before_it_starts():
    launch = load("local").launch(Target(backend="local", url=""))
    assert launch.max_context == CONTEXT_TOKENS
    assert load("local").launch(Target(backend="local", url="", model="x.gguf")).max_context is None
    told = []
    workload = Workload(
        name="w", version=1, description="d", prompt_tokens=(999_999,), output_tokens=(8,), concurrency=(1,)
    )
    with (
        pytest.raises(UsageError, match="more than shape:5m's 8192"),
        resolved(Options(backend="local", workload=workload), told.append),
    ):
        pass
    assert told == []
