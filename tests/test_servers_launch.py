"""Launching: what a driver says as data becomes a ready engine, or one error that says why not."""

import os
import sys
import urllib.request
from pathlib import Path

import pytest

from benchsuite.driver import Launch
from benchsuite.errors import TargetError, UsageError
from benchsuite.servers.launch import LaunchModel, launched, prepared, resolve_model
from benchsuite.types import Call

TINY = LaunchModel(argument="/models/tiny", name="tiny")

# Answers 503 twice, then 200 with its own arguments and one variable of its environment.
ENGINE = """
import http.server, os, sys
class Answer(http.server.BaseHTTPRequestHandler):
    asked = 0
    def do_GET(self):
        Answer.asked += 1
        self.send_response(200 if Answer.asked > 2 and self.path == "/v1/ready" else 503)
        self.end_headers()
        self.wfile.write(" ".join([*sys.argv[2:], os.environ.get("ENGINE_MODE", "")]).encode())
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


def launch_of(code, *arguments, **more):
    return Launch(
        argv=("{python}", "-c", code, "{port}", *arguments),
        ready=Call(method="GET", path="/v1/ready"),
        **more,
    )


def start(launch, **more):
    return launched(launch, **{"model": TINY, "slots": 4, "context": 512, **more})


def said(server):
    with urllib.request.urlopen(f"{server.url}/v1/ready") as answer:
        return answer.read().decode()


def test_a_template_becomes_a_ready_server_and_leaving_ends_it():
    words = ("{model}", "{name}", "{slots}", "{context}", "{context_total}", "{threads}", '{"json": 1}')
    launch = launch_of(ENGINE, *words, "--api-key=hush", env={"ENGINE_MODE": "calm on {threads}"})
    with start(launch, threads=3) as server:
        assert said(server) == '/models/tiny tiny 4 512 2048 3 {"json": 1} --api-key=hush calm on 3'
        assert server.exit_code() is None
        assert server.log_tail(4).count("503") == 2
        assert server.log_text().count("503") == 2
        assert server.seconds_to_ready > 0
        assert server.command_masked.startswith("python -c ")
        assert "hush" not in server.command_masked and "/models" not in server.command_masked
        os.kill(server.pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)


def test_an_engine_that_is_to_make_up_the_weights_is_told_so():
    launch = launch_of(ENGINE, "{name}", dummy_arguments=("--load-format", "dummy"))
    made_up = LaunchModel(argument="a", name="shape:big", dummy=True)
    with start(launch, model=made_up) as server:
        assert said(server).strip() == "shape:big --load-format dummy"
    with start(launch) as server:
        assert said(server).strip() == "tiny"


def test_an_error_inside_the_with_ends_the_engine_too():
    with pytest.raises(KeyError), start(launch_of(ENGINE)) as server:
        raise KeyError
    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)


def test_an_engine_that_ends_early_is_reported_with_its_last_words():
    code = "import sys; print('weights'); sys.exit('no such weights')"
    with pytest.raises(TargetError, match=r"(?s)ended with code 1 .*no such weights"), start(launch_of(code)):
        pass


def test_an_engine_that_never_gets_ready_is_reported_and_ended():
    waits = []
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    with (
        pytest.raises(TargetError, match="wasn't ready after") as caught,
        start(launch_of(code, ready_s=1.5), on_wait=waits.append),
    ):
        pass
    assert waits[0].startswith("waiting for the engine to get ready, ")
    with pytest.raises(ProcessLookupError):
        os.kill(int(str(caught.value).splitlines()[-1]), 0)


def test_a_key_that_the_engine_repeats_in_its_last_words_is_left_out():
    code = "import sys; sys.exit(f'arguments: {sys.argv[2:]}')"
    launch = launch_of(code, "--api-key", "sk-canary", "sk-second", "--hf-token=sk-third", "--seed", "7")
    with pytest.raises(TargetError, match="'--seed', '7'") as caught, start(launch):
        pass
    assert "sk-" not in str(caught.value)


def test_what_is_missing_is_said_before_anything_starts():
    launch = launch_of("", needs=("json", "ps", "no_such_engine"), missing="pip install no_such_engine")
    with pytest.raises(TargetError, match=r"^pip install no_such_engine$"):
        prepared(launch)
    with pytest.raises(TargetError, match=r"^no_such_module isn't installed"):
        prepared(launch_of("", module="no_such_module"))


def test_where_one_way_is_missing_another_is_gone():
    there = launch_of("", needs=("json",))
    assert prepared(launch_of("", needs=("no_such",), otherwise=there)) == (there, sys.executable)
    assert prepared(launch_of("", module="no_such", otherwise=there)) == (there, sys.executable)
    whole = launch_of("", needs=("json", "ps"), module="json", otherwise=launch_of("other"))
    assert prepared(whole) == (whole, sys.executable)


def test_a_folder_in_the_working_directory_is_no_engine(tmp_path, monkeypatch):
    (tmp_path / "no_such_engine").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    for needed in (launch_of("", needs=("no_such_engine",)), launch_of("", module="no_such_engine")):
        with pytest.raises(TargetError, match="isn't installed"):
            prepared(needed)


def test_a_python_is_only_chosen_for_an_engine_that_is_a_module():
    with pytest.raises(UsageError, match="leave it out"):
        prepared(launch_of("", needs=("json",)), "", sys.executable)
    assert prepared(launch_of("", module="json"), "", sys.executable)[1] == sys.executable


def test_an_executable_that_is_not_there():
    launch = Launch(argv=("/nowhere/engine",), ready=Call(method="GET", path="/"))
    with pytest.raises(TargetError, match="No such file"), start(launch):
        pass


def test_models_by_shape_by_file_and_by_name(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCHSUITE_CACHE", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    stages = []
    made = resolve_model("shape:5m", on_stage=stages.append)
    assert Path(made.argument).parent == tmp_path
    assert (made.name, made.dummy) == ("shape:5m", False)
    assert resolve_model("shape:5m", on_stage=stages.append) == made
    assert len(stages) == 1
    file = Path(made.argument)
    assert resolve_model(str(file)) == LaunchModel(argument=str(file), name=file.name)
    assert resolve_model("org/model") == LaunchModel(argument="org/model", name="org/model")
    folder = tmp_path / "models" / "big"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    for word in (str(folder), "~/models/big", ".", "../big"):
        assert resolve_model(word) == LaunchModel(argument=str(folder), name="big")
    for missing in (str(tmp_path / "x.gguf"), str(tmp_path / "x"), "./x", "~/x"):
        with pytest.raises(UsageError, match=r"no model (file|folder) .*x"):
            resolve_model(missing)
    with pytest.raises(UsageError, match=r"no model 5m; one of that shape is --model shape:5m"):
        resolve_model("5m")
    (folder / "5m").mkdir()
    assert resolve_model("5m") == LaunchModel(argument="5m", name="5m")


def test_a_published_shape_comes_without_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCHSUITE_CACHE", str(tmp_path))
    made = resolve_model("shape:llama-3.1-8b", "bf16")
    assert made.dummy and made.name == "shape:llama-3.1-8b"
    assert not list(Path(made.argument).glob("*.safetensors"))
    with pytest.raises(UsageError, match="has no weights"):
        resolve_model("shape:llama-3.1-8b", "gguf")


def test_the_users_environment_goes_before_the_drivers_and_threads_asked_for_before_both(monkeypatch):
    monkeypatch.setenv("ENGINE_MODE", "the user's")
    with start(launch_of(ENGINE, env={"ENGINE_MODE": "the driver's"})) as server:
        assert said(server) == "the user's"
    with start(launch_of(ENGINE, env={"ENGINE_MODE": "{threads}"})) as server:
        assert said(server) == "the user's"
    with start(launch_of(ENGINE, env={"ENGINE_MODE": "{threads}"}), threads=3) as server:
        assert said(server) == "3"


def test_a_module_is_the_installed_one_not_a_checkout_in_the_working_directory():
    code = ENGINE.replace('"ENGINE_MODE"', '"PYTHONSAFEPATH"')
    with start(launch_of(code, module="json")) as server:
        assert said(server) == "1"
    with start(launch_of(code)) as server:
        assert said(server) == ""
