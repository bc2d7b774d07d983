"""Attaching or starting: who answers at the usual address decides, and what the user said goes before."""

import json
import socket
import sys

import msgspec
import pytest

from benchsuite.driver import Launch, load
from benchsuite.errors import ChoiceNeeded, TargetError, UsageError
from benchsuite.target import Options, check_asked, resolved
from benchsuite.types import Call, Connection, Target, Timeouts, Workload

WORKLOAD = Workload(
    name="w",
    version=1,
    description="d",
    prompt_tokens=(64,),
    output_tokens=(8,),
    concurrency=(3,),
    requests=1,
)

# Says what vLLM says, its own arguments and one variable as its models.
ENGINE = """
import http.server, json, os, sys
models = [{"id": word, "owned_by": "vllm"} for word in [*sys.argv[2:], os.environ.get("ENGINE_MODE", "-")]]
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"data": models}).encode())
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


def says(**body):
    """A script: every request gets this JSON."""
    data = json.dumps(body).encode()
    answer = b"HTTP/1.1 200 OK\r\nServer: uvicorn\r\nContent-Length: %d\r\n\r\n" % len(data) + data

    def script(peer):
        while peer.request() is not None:
            peer.answer(answer)

    return script


VLLM = says(data=[{"id": "org/m", "owned_by": "vllm"}])
OTHER = says(data=[{"id": "m", "owned_by": "sglang"}])


def free_url():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
def standing(monkeypatch):
    """`standing(url)`: a driver called vllm whose usual address that is, and whose engine is a script."""

    def stand(url, **more):
        class Standing(type(load("vllm"))):
            default_url = url

            def launch(self, target):
                words = ("{model}", "{slots}", *target.engine_args)
                return Launch(
                    argv=("{python}", "-c", ENGINE, "{port}", *words),
                    **{"ready": Call(method="GET", path="/health"), "module": "json"} | more,
                )

        monkeypatch.setattr("benchsuite.target.load", lambda name, options: Standing())

    return stand


class Told(list):
    def text(self):
        return "\n".join(stage.text for stage in self)


def reached(**options):
    """The server's models and whether it was attached to, and what was told on the way."""
    told = Told()
    asked = {"backend": "vllm", "model": "org/m", "workload": WORKLOAD} | options
    with resolved(Options(**asked), told.append) as who:
        return who, told


def refusal(kind=UsageError, **options):
    with pytest.raises(kind) as caught:
        reached(**options)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.fixture(autouse=True)
def empty_hub(monkeypatch, tmp_path):
    """A Hugging Face cache of this test's own."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


def test_what_answers_as_itself_at_the_usual_address_is_attached_to(serve, standing):
    server = serve(VLLM)
    standing(server.url)
    who, told = reached(model="")
    assert who.attached and who.target.url == server.url and who.target.model == "org/m"
    assert "starting" not in told.text() and who.launch_command == ""


def test_where_nobody_listens_one_is_started_on_a_free_port(standing):
    url = free_url()
    standing(url)
    who, told = reached()
    assert not who.attached and who.target.url != url
    assert who.identity.models[:2] == ("org/m", "3")
    assert "starting vLLM with org/m" in told.text() and who.launch_command.startswith("python -c ")
    assert who.launch_seconds > 0


def test_something_else_is_named_and_hears_nothing_but_the_questions_who_it_is(serve, standing):
    server = serve(OTHER)
    standing(server.url)
    said = refusal(TargetError)
    assert f"what answers at {server.url} isn't vLLM (it says sglang)" in said
    for advice in ("--launch starts vLLM", "--url says", f"--backend openai --url {server.url}"):
        assert advice in said
    asked = load("vllm").identify(Target(backend="vllm", url=server.url))
    questions = {f"{call.method} {call.path} HTTP/1.1" for call in asked}
    assert server.heard and {heard.line for heard in server.heard} <= questions
    assert not any(heard.body for heard in server.heard)


def test_launch_starts_one_beside_whatever_is_there(serve, standing):
    server = serve(OTHER)
    standing(server.url)
    who, _ = reached(start="launch")
    assert not who.attached and server.heard == []
    assert "leave --url out" in refusal(start="launch", url=server.url)


def test_launch_is_refused_where_a_backend_can_not_be_started():
    said = refusal(backend="openai", start="launch")
    assert "--backend openai can't be started" in said and "--url" in said
    assert "--backend azure needs the server's address" in refusal(backend="azure")


def test_attach_starts_nothing_and_says_what_to_do_instead(standing):
    url = free_url()
    standing(url, ready=Call(method="GET", path="/no-engine-may-start"))
    said = refusal(TargetError, start="attach")
    assert url.removeprefix("http://") in said
    for advice in ("start vLLM there", "--url", "leave --attach out"):
        assert advice in said


def test_attach_needs_an_address_where_there_is_no_usual_one():
    assert "--attach needs the server's address" in refusal(backend="local", start="attach")


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("--engine", {"engine": {"tp": "2"}}),
        ("--engine-args", {"engine_args": ("--seed", "1")}),
        ("--engine-python", {"engine_python": sys.executable}),
        ("--threads", {"threads": 2}),
    ],
)
def test_what_sets_up_an_engine_is_refused_with_one_that_runs(serve, standing, name, asked):
    server = serve(VLLM)
    standing(server.url, env={"ENGINE_MODE": "{threads}"})
    assert refusal(**asked) == (
        f"{name} is for a server that benchsuite starts, not for {server.url}; add --launch"
    )
    assert "leave --url out" in refusal(url=server.url, **asked)
    assert "leave --attach out" in refusal(start="attach", **asked)
    assert server.heard == []
    assert not reached(start="launch", **asked)[0].attached


def test_unknown_settings_are_refused_with_the_nearest_name_before_anything_starts(serve, standing):
    server = serve(VLLM)
    standing(server.url)
    for start in ("launch", "auto"):
        assert "did you mean max-seqs?" in refusal(engine={"maxseqs": "8"}, start=start)
    assert "is on or off" in refusal(engine={"eager": "yes"})
    for words in (("--port", "9"), ("--port=9",), ("--host", "::")):
        assert "benchsuite chooses --" in refusal(engine_args=words)
    assert "--backend sim takes no --engine-args" in _of_backend("sim", engine_args=("--x",))
    assert "--backend sim takes no --engine;" in _of_backend("sim", engine={"tp": "2"})
    assert server.heard == []


def _of_backend(name, **asked):
    with pytest.raises(UsageError) as caught:
        check_asked(load(name), Options(backend=name, workload=WORKLOAD, **asked))
    return str(caught.value)


def test_a_key_among_the_engines_arguments_is_not_in_the_stored_command(standing):
    standing(free_url())
    words = ("--api-key", "sk-canary-1", "sk-canary-2", "--token-file=/srv/ann/t", "--seed", "7")
    who, _ = reached(engine_args=words)
    assert "sk-canary-1" in who.identity.models, "the engine itself gets it"
    assert "--seed 7" in who.launch_command
    assert "canary" not in who.launch_command and "/srv" not in who.launch_command


def test_a_stuck_server_at_the_usual_address_is_told_with_a_way_out(serve, standing):
    server = serve(lambda peer: peer.server.stop.wait(30) and None)
    standing(server.url)
    said = refusal(TargetError, connection=Connection(timeouts=Timeouts(first_byte_s=0.3)))
    assert "takes connections but doesn't answer" in said and "start another with --launch" in said
    server.stop.set()


def test_without_a_model_the_downloaded_ones_are_listed(standing, tmp_path):
    standing(free_url())
    assert "--model NAME or a folder" in refusal(model="")
    for name in ("org--one", "org--two"):
        snapshot = tmp_path / "hub" / f"models--{name}" / "snapshots" / "0"
        snapshot.mkdir(parents=True)
        (snapshot / "config.json").write_text("{}")
        (snapshot / "model.safetensors").write_bytes(b"x")
    with pytest.raises(ChoiceNeeded) as caught:
        reached(model="")
    assert set(caught.value.choices) == {"org/one", "org/two"}
    assert caught.value.notes == ("0.0 GB, unknown",) * 2
    assert caught.value.option == "--model" and "which model should vLLM serve?" in str(caught.value)


def test_a_model_that_was_not_downloaded_is_told_in_a_line(standing, tmp_path, monkeypatch):
    standing(free_url(), env={"HF_HUB_OFFLINE": "1"})
    assert "`hf download org/new` gets it" in refusal(model="org/new")
    (tmp_path / "hub" / "models--org--new").mkdir(parents=True)
    assert not reached(model="org/new")[0].attached
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    assert not reached(model="here")[0].attached


def test_several_models_of_a_running_server_have_to_be_chosen_from(serve, standing):
    models = [{"id": name, "owned_by": "vllm"} for name in ("/srv/ann/a", "org/b")]
    standing(serve(says(data=models)).url)
    with pytest.raises(ChoiceNeeded) as caught:
        reached(model="")
    assert caught.value.choices == ("a", "org/b")
    assert reached(model="a")[0].target.model == "/srv/ann/a"


def test_an_engine_that_fails_to_start_is_told_with_its_last_words(standing, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ENGINE", "import sys; sys.exit('out of memory: sk-canary')")
    standing(free_url())
    with pytest.raises(TargetError, match=r"(?s)ended with code 1 .*out of memory: \*\*\*$"):
        reached(engine_args=("--api-key", "sk-canary"))


def test_an_engine_is_gone_when_the_target_is_left(standing):
    standing(free_url())
    with resolved(Options(backend="vllm", model="m", workload=WORKLOAD), lambda _: None) as who:
        pass
    with (
        pytest.raises(TargetError, match="nothing answers"),
        resolved(Options(backend="vllm", url=who.target.url, workload=WORKLOAD), lambda _: None),
    ):
        pass


def test_the_region_that_a_url_names_is_part_of_who_it_is(serve):
    server = serve(says(totalTokens=1))
    place = f"{server.url}/v1/projects/p/locations/europe-west4"
    who, _ = reached(backend="gemini", model="gemini-x", url=place)
    assert (who.identity.server, who.identity.details["region"]) == ("Vertex AI", "europe-west4")


def test_without_a_cap_on_what_is_in_flight_the_driver_says_how_many_slots(standing):
    standing(free_url(), open_slots=77)
    uncapped = msgspec.structs.replace(WORKLOAD, concurrency=(), rate=(50.0,))
    assert "77" in reached(workload=uncapped)[0].identity.models
    assert "3" in reached()[0].identity.models


def test_threads_are_refused_where_the_engine_chooses_them_itself(standing):
    standing(free_url())
    assert "leave --threads out" in refusal(threads=2)
    standing(free_url(), env={"ENGINE_MODE": "{threads}"})
    assert "2" in reached(threads=2)[0].identity.models


def test_keys_go_to_a_default_address_only_where_they_are_asked_for(serve, standing, monkeypatch):
    monkeypatch.setenv("VLLM_API_KEY", "canary-key")
    secret = {"headers": {"x-canary": "canary-header"}}
    other = serve(OTHER)
    standing(other.url)
    refusal(TargetError, **secret)
    assert other.heard and not any("canary" in str(heard.headers) for heard in other.heard)

    def guarded(peer):
        while (heard := peer.request()) is not None:
            if heard.headers.get("authorization") == "Bearer canary-key":
                body = b'{"data": [{"id": "org/m", "owned_by": "vllm"}]}'
                peer.answer(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            else:
                peer.answer(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")

    standing(serve(guarded).url)
    assert reached(**secret)[0].attached
