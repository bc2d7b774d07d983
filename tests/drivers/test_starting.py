"""How drivers start their engines: commands, settings, and what requests ask of them."""

import json
import re
from pathlib import Path

import msgspec
import pytest

from benchsuite.driver import ReportsLoading, backends, load
from benchsuite.errors import UsageError
from benchsuite.testing import request
from benchsuite.types import Target
from benchsuite_backends.starting import read

STARTED = {
    "local": (
        "{python} -P -m benchsuite.servers.llamacpp --model {model} --port {port}"
        " --slots {slots} --context {context} --threads {threads}"
    ),
    "vllm": (
        "{python} -m vllm.entrypoints.openai.api_server --model {model} --served-model-name {name}"
        " --host 127.0.0.1 --port {port} --enable-prompt-tokens-details --generation-config vllm"
        " --max-num-seqs {slots} --max-model-len {context}"
    ),
    "mlx": (
        "{python} -m mlx_lm server --model {model} --host 127.0.0.1 --port {port} --log-level WARNING"
        " --decode-concurrency {slots}"
    ),
    "transformers": (
        "{python} -m transformers.cli.transformers serve {model} --host 127.0.0.1 --port {port}"
    ),
    "llamacpp": (
        "llama-server --model {model} --alias {name} --host 127.0.0.1 --port {port} --threads-http 448"
        " --metrics --parallel {slots} --ctx-size {context_total} --threads {threads}"
    ),
}

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "engines.md"


def launch(backend, model="m.gguf", *args, **engine):
    settings = {name.replace("_", "-"): value for name, value in engine.items()}
    target = Target(backend=backend, url="", model=model, engine=settings, engine_args=args)
    found = load(backend).launch(target)
    assert found is not None
    return found


def added(backend, *args, **engine):
    """The words after the port that settings and raw arguments made of a plain command."""
    plain = STARTED[backend].split()
    return " ".join(word for word in launch(backend, "m.gguf", *args, **engine).argv if word not in plain)


def body(backend, model="org/m", **asked):
    target = Target(backend=backend, url="http://127.0.0.1:8000", model=model)
    return json.loads(load(backend).encode(request(**asked), target).body)


@pytest.mark.parametrize("backend", STARTED)
def test_the_command_of_each_engine(backend):
    assert " ".join(launch(backend).argv) == STARTED[backend]


def test_settings_become_arguments():
    assert added("vllm", tp="2", eager="on") == "--tensor-parallel-size 2 --enforce-eager"
    assert added("vllm", prefix_cache="off", dtype="float16") == "--no-enable-prefix-caching --dtype float16"
    assert added("vllm", compile="3") == "-O3"
    assert added("mlx", prefix_cache="off") == "--prompt-cache-size 0"
    assert added("transformers", batching="on", seed="7") == "--continuous-batching --default-seed 7"
    assert added("llamacpp", kv_cache_dtype="q8_0") == "--cache-type-k q8_0 --cache-type-v q8_0"


@pytest.mark.parametrize(
    ("backend", "setting", "flag"),
    [
        ("vllm", "max-seqs", "--max-num-seqs"),
        ("vllm", "max-len", "--max-model-len"),
        ("mlx", "max-seqs", "--decode-concurrency"),
        ("llamacpp", "max-seqs", "--parallel"),
        ("llamacpp", "ctx", "--ctx-size"),
        ("llamacpp", "threads", "--threads"),
    ],
)
def test_a_setting_takes_the_place_of_ours(backend, setting, flag):
    argv = launch(backend, **{setting.replace("-", "_"): "48"}).argv
    assert argv.count(flag) == 1
    assert argv[argv.index(flag) + 1] == "48"


def test_raw_arguments_come_last():
    argv = launch("vllm", "m", "--seed", "1", tp="2").argv
    assert argv[-4:] == ("--tensor-parallel-size", "2", "--seed", "1")


def test_unknown_settings_and_values_are_told():
    with pytest.raises(UsageError, match="did you mean max-seqs"):
        launch("vllm", max_seq="1")
    with pytest.raises(UsageError, match="prefix-cache is on or off"):
        launch("mlx", prefix_cache="maybe")


@pytest.mark.parametrize("backend", backends())
def test_every_setting_says_what_it_means_in_a_few_words(backend):
    for name, setting in load(backend).settings.items():
        assert 0 < len(setting.help) < 60, name
        assert setting.arguments.keys() in ({"*"}, {"on", "off"}), name


def test_a_table_with_a_field_that_means_nothing_is_refused():
    start = b'[x.launch]\ncommand = "a"\nmissing = "b"\n'
    assert read(start)["x"].launch.ready == "/health"
    for more in (b'comand = "c"\n', b"[x.setings]\n"):
        with pytest.raises(msgspec.ValidationError, match="unknown field"):
            read(start + more)


def test_every_word_of_a_launch_is_known():
    known = {"python", "port", "model", "name", "slots", "context", "context_total", "threads"}
    for backend in backends():
        found = load(backend).launch(Target(backend=backend, url=""))
        words = () if found is None else (*found.argv, *found.image_argv, *found.env.values())
        assert set(re.findall(r"\{([^\s{}\":]*)\}", " ".join(words))) <= known, backend


def test_an_image_looks_for_models_in_no_users_home():
    for backend in backends():
        found = load(backend).launch(Target(backend=backend, url=""))
        assert found is None or not found.image_cache.startswith(("/root", "/home")), backend
    ollama = launch("ollama", "m")
    assert ollama.image_volume and f"OLLAMA_MODELS={ollama.image_cache}" in ollama.image_argv


def test_ollama_is_set_by_variables_alone():
    assert launch("ollama", "m", "OLLAMA_DEBUG=1").argv[:2] == ("env", "OLLAMA_NUM_PARALLEL={slots}")
    for odd in ("--verbose", "serve", "debug=1"):
        with pytest.raises(UsageError, match=f"not by '{odd}'"):
            launch("ollama", "m", odd)


def test_a_hub_name_is_looked_up_by_llama_server_and_never_served_by_the_embedded_engine():
    found = launch("llamacpp", "org/model-GGUF:Q4_K_M")
    assert found.argv[:3] == ("llama-server", "--hf-repo", "{model}")
    assert found.otherwise is None
    assert found.default_model == "shape:5m"


def test_without_llama_server_the_embedded_engine_serves_unless_settings_are_asked_for():
    assert launch("llamacpp", "shape:5m").otherwise == launch("local", "shape:5m")
    assert launch("llamacpp", "shape:5m", gpu_layers="all").otherwise is None
    assert launch("llamacpp", "shape:5m", "--mlock").otherwise is None


def test_engines_that_make_up_weights_say_how():
    assert launch("vllm").dummy_arguments == ("--load-format", "dummy")
    assert [launch(name).model_form for name in STARTED] == ["gguf", "bf16", "f32", "f32", "gguf"]


def test_vllm_is_asked_for_exactly_the_output():
    asked = body("vllm", output_tokens=9)
    assert (asked["ignore_eos"], asked["min_tokens"], asked["max_tokens"]) == (True, 9, 9)


def test_only_cold_requests_to_vllm_carry_a_salt_and_each_its_own():
    salts = [body("vllm", text=text)["cache_salt"] for text in ("able baker charlie", "able baker delta")]
    assert len(set(salts)) == 2
    assert "cache_salt" not in body("vllm", cache="warm")
    long = body("vllm", text="żółć / @ \\ " * 50)["cache_salt"]
    assert long.isalnum() and len(long) <= 128
    assert body("vllm", text="")["cache_salt"]


def test_transformers_is_asked_for_exactly_the_output():
    assert json.loads(body("transformers", output_tokens=9)["generation_config"]) == {"min_new_tokens": 9}
    assert not {"ignore_eos", "min_tokens"} & body("transformers").keys(), "it refuses unknown fields"


def test_mlx_is_sent_no_seed():
    assert "seed" not in body("mlx")


@pytest.mark.parametrize(("backend", "loaded"), [("mlx", "default_model"), ("transformers", None)])
def test_the_model_that_is_loaded_is_asked_for_unless_another_is_named(backend, loaded):
    for ours in ("", "shape:5m", "folder"):
        assert body(backend, ours)["model"] == loaded
    for named in ("org/model", "/models/mine"):
        assert body(backend, named)["model"] == named


def test_vllm_says_how_long_loading_took():
    vllm = load("vllm")
    assert isinstance(vllm, ReportsLoading)
    worker = "(Worker pid=1) INFO 11-24 13:38:09 [default_loader.py:501] Loading weights took {} seconds\n"
    assert vllm.load_seconds(worker.format("0.02") + worker.format("1.50")) == 1.5
    fuller = "INFO [gpu_model_runner.py:1] Model loading took 14.99 GiB memory and 4.25 seconds\n"
    assert vllm.load_seconds(worker.format("3.10") + fuller) == 4.25
    assert vllm.load_seconds("nothing of the kind") is None


def test_the_guide_lists_every_setting_with_its_arguments():
    section = GUIDE.read_text(encoding="utf-8").partition("## Settings")[2]
    rows = re.findall(r"^\| `([a-z][a-z-]*)` \|(.*)\|$", section, re.MULTILINE)
    columns = ("vllm", "llamacpp", "mlx", "transformers")
    shown = {
        (backend, name): cell.strip()
        for name, cells in rows
        for backend, cell in zip(columns, cells.split("|")[1:], strict=False)
        if cell.strip()
    }
    known = {
        (backend, name): load(backend).settings[name]
        for backend in columns
        for name in load(backend).settings
    }
    assert shown.keys() == known.keys()
    for key, setting in known.items():
        words = {word.partition("{")[0] for each in setting.arguments.values() for word in each}
        assert all(word in shown[key] for word in words), key


def test_llamacpp_says_how_long_loading_took_where_it_is_the_embedded_one():
    for name in ("local", "llamacpp"):
        driver = load(name)
        assert driver.load_seconds("warning: x\nmodel loaded in 0.250 s, listening on 127.0.0.1:1\n") == 0.25
        assert driver.load_seconds("main: server is listening") is None
