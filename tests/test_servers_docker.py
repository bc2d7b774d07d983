"""Engines from images: the `docker run` that a driver's data becomes, its pull, and its certain end.

`docker` is a script that keeps what it was asked, and whose containers are processes of their own that
outlive the client, as real ones do.
"""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from benchsuite.cli.run_options import typed
from benchsuite.driver import Launch, load
from benchsuite.errors import TargetError, UsageError
from benchsuite.servers.docker import contained, fetched, inspected, way
from benchsuite.servers.launch import LaunchModel, launched
from benchsuite.shown import shown_image
from benchsuite.target import Options, resolved
from benchsuite.types import Call, Target, Workload

IMAGE = "vendor/engine:1"
MODEL = LaunchModel(argument="org/m", name="org/m")
WORKLOAD = Workload(
    name="w",
    version=1,
    description="d",
    prompt_tokens=(64,),
    output_tokens=(8,),
    concurrency=(3,),
    requests=1,
)

# Containers answer every GET with their words and some of their variables, as vLLM lists its models.
CONTAINER = """
import http.server, json, os, sys
words = [*json.loads(sys.argv[2]), *(f"{name}={os.environ.get(name)}" for name in json.loads(sys.argv[3]))]
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"data": [{"id": word, "owned_by": "vllm"} for word in words]}).encode())
    def log_message(self, *_):
        pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""

DOCKER = """#!{python}
import json, os, pathlib, signal, subprocess, sys, time
place, words = pathlib.Path({place!r}), sys.argv[1:]
with (place / "asked").open("a") as file:
    file.write(json.dumps(words) + "\\n")
here = set((place / "images").read_text().split())
if (place / "down").exists():
    sys.exit("Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is it running?")
if words[:2] == ["image", "inspect"]:
    if words[-1] not in here:
        sys.exit("Error response from daemon: No such image: " + words[-1])
    print("sha256:0000", json.dumps([words[-1].partition(":")[0] + "@sha256:abcd"]))
elif words[0] == "pull":
    if "missing" in words[1]:
        sys.exit("Error response from daemon: manifest unknown")
    print("1: Pulling from " + words[1], "a1: Pulling fs layer", "b2: Already exists", sep="\\n")
    print("a1: Pull complete")
    (place / "images").write_text(" ".join(here | {{words[1]}}))
elif words[0] == "run":
    name, published = words[words.index("--name") + 1], words[words.index("--publish") + 1]
    image = max(words.index(one) for one in here if one in words)
    named = [words[at + 1].partition("=")[::2] for at, word in enumerate(words[:image]) if word == "--env"]
    given = {{key: value or os.environ.get(key, "") for key, value in named}}
    argv = [sys.executable, "-c", {container!r}, published.split(":")[1], json.dumps(words[image + 1 :])]
    argv.append(json.dumps(sorted(given)))
    if (place / "simulator").exists():
        asked = {{"port": int(published.split(":")[1]), "engine": "vllm", "model": "org/m"}}
        argv = [sys.executable, "-m", "benchsuite.simulator", "--config", json.dumps(asked)]
    started = subprocess.Popen(argv, env=given, start_new_session=True)
    (place / name).write_text(str(started.pid))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if (place / "clientless").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    sys.exit(started.wait())
elif words[0] == "stop":
    os.kill(int((place / words[-1]).read_text()), signal.SIGKILL)
    (place / words[-1]).unlink()
"""


@pytest.fixture
def docker(monkeypatch, tmp_path):
    """A folder with a `docker` of its own, first on the PATH; `images` in it holds what is here."""
    place = tmp_path / "docker"
    (place / "bin").mkdir(parents=True)
    script = place / "bin" / "docker"
    script.write_text(DOCKER.format(python=sys.executable, place=str(place), container=CONTAINER))
    script.chmod(0o755)
    (place / "images").write_text(IMAGE)
    monkeypatch.setenv("PATH", f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    yield place
    for left in place.glob("benchsuite-*"):
        os.kill(int(left.read_text()), signal.SIGKILL)


def asked(place):
    return [json.loads(line) for line in (place / "asked").read_text().splitlines()]


def engine(**more):
    return Launch(
        argv=(),
        image=IMAGE,
        image_argv=("--model", "{model}", "--port", "{port}", "--slots", "{slots}"),
        ready=Call(method="GET", path="/health"),
        **more,
    )


def command(launch, model=MODEL, *, gpus=False, environ=None):
    """The words of `docker run` as they are before the port is filled in; the name is taken out."""
    found, _ = contained(launch, model, IMAGE, gpus=gpus, environ=environ or {})
    words = list(found.argv)
    del words[words.index("--name") + 1]
    return " ".join(words)


def gone(place, seconds=10.0):
    until = time.monotonic() + seconds
    while left := list(place.glob("benchsuite-*")):
        if time.monotonic() > until:
            return left
        time.sleep(0.05)
    return []


def test_a_hub_model_needs_nothing_but_the_cache_that_is_here(tmp_path):
    plain = "docker run --rm --init --pull never --name --shm-size 1g --publish 127.0.0.1:{port}:8000"
    words = f"{IMAGE} --model org/m --port 8000 --slots {{slots}}"
    environ = {"HF_HUB_CACHE": str(tmp_path)}
    inner = "/models-cache"
    mount = f"--mount type=bind,src={tmp_path},dst={inner}/hub,readonly"
    home = f"--env HF_HOME={inner} --env HF_HUB_CACHE={inner}/hub --env HUGGINGFACE_HUB_CACHE={inner}/hub"
    assert command(engine(), environ=environ) == f"{plain} {mount} {home} {words}"
    assert command(engine(), environ={"HF_HUB_CACHE": str(tmp_path / "none")}) == f"{plain} {words}"


def test_gpus_are_given_where_there_are_some():
    assert "--gpus" not in command(engine())
    given = command(engine(), gpus=True, environ={"CUDA_VISIBLE_DEVICES": "1", "HF_TOKEN": "hf_canary"})
    assert "--gpus all" in given and "--env CUDA_VISIBLE_DEVICES " in given
    assert "HF_TOKEN" not in given and "canary" not in given


def test_a_models_folder_is_mounted_under_its_own_name():
    found, seen = contained(
        engine(), LaunchModel(argument="/data/mine", name="mine"), IMAGE, gpus=False, environ={}
    )
    assert "type=bind,src=/data/mine,dst=/models/mine,readonly" in found.argv
    assert found.argv[-5:-2] == ("/models/mine", "--port", "8000")
    assert (seen.argument, seen.name) == ("/models/mine", "mine")
    with pytest.raises(UsageError, match="comma"):
        contained(engine(), LaunchModel(argument="/data/a,b", name="b"), IMAGE, gpus=False, environ={})


def test_variables_among_the_words_and_those_of_the_driver_are_the_containers():
    launch = Launch(
        argv=(),
        env={"QUIET": "1"},
        image_argv=("PREFIX_CACHING=0", "--model-id", "{model}"),
        image_port=80,
        image_cache="/data",
        image_volume=True,
        ready=Call(method="GET", path="/health"),
    )
    words = command(launch)
    assert words.endswith(f"--env QUIET --env PREFIX_CACHING=0 {IMAGE} --model-id org/m")
    assert "--mount type=volume,src=benchsuite-models-data,dst=/data" in words and "HF_HOME" not in words


def test_an_image_that_is_here_is_not_pulled(docker):
    stages = []
    image = fetched(IMAGE, stages.append)
    assert (image.shown, image.digest, stages) == (IMAGE, "sha256:abcd", [])


def test_a_pull_tells_how_far_it_is(docker):
    stages = []
    assert fetched("other/engine", stages.append).digest == "sha256:abcd"
    assert stages[0] == "pulling other/engine"
    assert stages[-1] == "pulling other/engine: 2 of 2 layers"


def test_a_private_registry_is_not_shown(docker):
    (docker / "images").write_text("registry.corp:5000/team/engine:2 team/engine")
    assert fetched("registry.corp:5000/team/engine:2", print).shown == "private-host/team/engine:2"
    for public in ("team/engine", "engine:1", "ghcr.io/team/engine:2"):
        assert shown_image(public) == public
    words = ("--image", "registry.corp:5000/engine", "--image=10.0.0.7:5000/engine")
    assert typed("run", words) == "benchsuite run --image private-host/engine --image=private-host/engine"


def test_what_is_wrong_with_docker_is_said_in_a_line(docker, monkeypatch):
    with pytest.raises(
        TargetError, match=r"^docker can't pull missing/x: Error response .* manifest unknown$"
    ):
        fetched("missing/x", print)
    (docker / "down").touch()
    with pytest.raises(TargetError, match=r"^docker doesn't answer: Cannot connect"):
        inspected(IMAGE)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UsageError, match="docker isn't on the PATH"):
        way(engine(), title="Engine", environment="", docker=True)
    with pytest.raises(UsageError, match="knows no image of Engine"):
        way(Launch(argv=("x",), ready=engine().ready), title="Engine", environment="", docker=True)


def test_an_image_is_a_way_by_itself_only_where_it_is_here(docker):
    tgi = load("tgi").launch(Target(backend="tgi", url="", model="org/m"))
    with pytest.raises(TargetError, match="--docker starts TGI's image"):
        way(tgi, title="TGI", environment="")
    (docker / "down").touch()
    with pytest.raises(TargetError, match="--docker starts TGI's image"):
        way(tgi, title="TGI", environment="")
    (docker / "down").unlink()
    (docker / "images").write_text(tgi.image)
    found, _ = way(tgi, title="TGI", environment="")
    assert (found.argv, found.image) == ((), tgi.image)


def test_asked_for_it_goes_before_what_is_installed(docker):
    own = Launch(argv=("{python}",), module="json", image=IMAGE, ready=engine().ready)
    assert way(own, title="E", environment="")[0].argv == ("{python}",)
    assert way(own, title="E", environment="", docker=True)[0].argv == ()
    assert way(own, title="E", environment="", image="mine/it")[0].image == "mine/it"
    with pytest.raises(UsageError, match="two ways"):
        way(own, title="E", environment="", python="/usr/bin/python3", docker=True)


def start(launch):
    found, seen = contained(launch, MODEL, IMAGE, gpus=False, environ=os.environ)
    return launched(found, model=seen, slots=2, context=512)


def test_a_container_serves_and_ends_with_the_block(docker):
    with start(engine()) as server:
        assert list(docker.glob("benchsuite-*"))
        assert f"{IMAGE} --model org/m --port 8000 --slots 2" in server.command_masked
    assert not gone(docker, 0)
    (stopped,) = (words for words in asked(docker) if words[0] == "stop")
    assert stopped[1:3] == ["-t", "5"]


def test_a_container_whose_client_was_killed_is_stopped_all_the_same(docker):
    (docker / "clientless").touch()
    with pytest.raises(TargetError, match="ended with code 137"), start(engine()):
        pass
    assert not gone(docker)


def ended(pid, within_s=5.0):
    """Has the process ended, or does it within a few seconds? On a busy machine a signal takes its time."""
    until_s = time.monotonic() + within_s
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie":
        if time.monotonic() > until_s:
            return False
        time.sleep(0.01)
    return True


def test_kill_9_of_benchsuite_leaves_no_container(docker):
    code = textwrap.dedent(
        """
        import sys, tests_docker as t
        with t.start(t.engine()):
            print("up", flush=True)
            sys.stdin.read()
        """
    )
    folder = Path(__file__).parent
    (docker / "tests_docker.py").write_text((folder / Path(__file__).name).read_text(encoding="utf-8"))
    environ = {**os.environ, "PYTHONPATH": str(docker)}
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ
    )
    assert process.stdout and process.stdin
    assert process.stdout.readline() == b"up\n"
    (name,) = docker.glob("benchsuite-*")
    container = int(name.read_text())
    process.kill()
    process.wait()
    process.stdout.close()
    process.stdin.close()
    assert not gone(docker)
    assert ended(container)


def test_a_run_from_an_image_says_so(docker, monkeypatch):
    (docker / "images").write_text("registry.corp:5000/team/engine:2")

    class Standing(type(load("vllm"))):
        def launch(self, target):
            return engine(module="no_such_module", env={"ENGINE_MODE": "calm"})

    monkeypatch.setattr("benchsuite.target.load", lambda name, options: Standing())
    monkeypatch.setattr("benchsuite.target.gpus_here", lambda: ("NVIDIA L4",))
    options = Options(
        backend="vllm",
        model="org/m",
        workload=WORKLOAD,
        start="launch",
        image="registry.corp:5000/team/engine:2",
    )
    told = []
    with resolved(options, told.append) as who:
        assert not who.attached
        assert {"org/m", "8000", "3", "ENGINE_MODE=calm"} <= set(who.identity.models)
        assert who.identity.details["image"] == "private-host/team/engine:2@sha256:abcd"
        assert "registry" not in who.launch_command and "--gpus all" in who.launch_command
    assert not gone(docker, 0)


def test_a_whole_run_from_an_image(docker, tmp_path):
    (docker / "simulator").touch()
    (docker / "images").write_text("vllm/none")
    (tmp_path / "hub" / "models--org--m").mkdir(parents=True)
    lengths = ("--prompt-tokens", "32", "--output-tokens", "4", "--requests", "4", "--trials", "1")
    words = ("--backend", "vllm", "--launch", "--docker", "--model", "org/m", "--concurrency", "2", *lengths)
    done = subprocess.run(
        [sys.executable, "-m", "benchsuite", "run", *words],
        env={**os.environ, "BENCHSUITE_STORE": str(tmp_path / "store")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode in (0, 3), done.stdout + done.stderr
    assert "pulling vllm/vllm-openai:latest: 2 of 2 layers" in done.stderr + done.stdout
    assert not gone(docker, 0)
    stored = next((tmp_path / "store").rglob("run.json")).read_text(encoding="utf-8")
    manifest = json.loads(stored)["manifest"]
    assert manifest["identity"]["details"]["image"] == "vllm/vllm-openai:latest@sha256:abcd"
    assert manifest["attached"] is False and str(tmp_path) not in stored
    (run,) = (words for words in asked(docker) if words[0] == "run")
    at = run.index("vllm/vllm-openai:latest")
    assert run[at + 1 : at + 5] == ["--model", "org/m", "--served-model-name", "org/m"]
    assert f"type=bind,src={tmp_path / 'hub'},dst=/models-cache/hub,readonly" in run


def test_docker_is_for_what_benchsuite_starts(serve):
    options = Options(backend="vllm", workload=WORKLOAD, url="http://127.0.0.1:9", docker=True)
    words = r"--docker is for a server that benchsuite starts.*leave --url out"
    with pytest.raises(UsageError, match=words), resolved(options, print):
        pass
