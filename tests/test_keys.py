"""Keys: asked for before anything is contacted, said by a command, refreshed, and never shown."""

import json
import shlex
import sys

import msgspec
import pytest

import benchsuite.keys
from benchsuite.asked import Options
from benchsuite.cli.run_options import typed
from benchsuite.driver import backends, load
from benchsuite.errors import ChoiceNeeded, TargetError, UsageError
from benchsuite.keys import check_key, is_hosted, said
from benchsuite.target import resolved, with_fresh_key
from benchsuite.types import Workload

WORKLOAD = Workload(
    name="w",
    version=1,
    description="d",
    prompt_tokens=(64,),
    output_tokens=(8,),
    concurrency=(1,),
    requests=1,
)
HOSTED = (
    *("openai", "anthropic", "gemini", "openrouter", "groq", "together", "fireworks", "cerebras"),
    *("deepinfra", "bedrock", "nim"),
)
CANARY = "canary-token-5d1e"


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    for name in backends():
        for variable in load(name).key_variables:
            monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def nobody(monkeypatch):
    """Whoever is contacted fails the test."""

    def contacted(*_):
        raise AssertionError("somebody was contacted")

    monkeypatch.setattr("benchsuite.target.resolve", contacted)


def options(backend, **more):
    return Options(backend=backend, workload=WORKLOAD, **more)


def refusal(kind=UsageError, **asked):
    with pytest.raises(kind) as caught, resolved(options(**asked), lambda _: None):
        pass
    return str(caught.value)


def answers(status=b"200 OK", body=b"{}", heard=None):
    """A script: every request gets this; its headers are noted."""

    def script(peer):
        while (request := peer.request()) is not None:
            if heard is not None:
                heard.append(request)
            peer.answer(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))

    return script


def script_of(tmp_path, text):
    """A command that runs this Python."""
    file = tmp_path / "say.py"
    file.write_text(text)
    return shlex.join([sys.executable, str(file)])


@pytest.mark.parametrize("name", HOSTED)
def test_a_vendor_is_not_contacted_without_a_key(nobody, name):
    driver = load(name)
    variables = " or ".join(driver.key_variables)
    assert refusal(backend=name) == f"--backend {name} needs a key: set {variables} ({driver.key_page})"


@pytest.mark.parametrize("url", ["", "https://api.groq.com/openai/v1"])
def test_the_vendors_url_by_hand_is_the_same_vendor(nobody, url):
    assert "needs a key: set GROQ_API_KEY" in refusal(backend="groq", url=url)


def test_azure_is_the_vendor_wherever_it_is(nobody):
    url = "https://r.openai.azure.com/openai/v1"
    assert "needs a key: set AZURE_OPENAI_API_KEY" in refusal(backend="azure", url=url)
    assert "needs the server's address" in refusal(backend="azure")
    assert not is_hosted(load("azure"), "http://127.0.0.1:8000")


@pytest.mark.parametrize(
    "given",
    [
        {"url": "http://127.0.0.1:1"},
        {"variable": "MY_KEY"},
        {"command": "say"},
        {"headers": {"Authorization": "Bearer x"}},
        {"headers": {"API-Key": "x"}},
    ],
)
def test_what_else_will_do(given):
    asked = {"url": "https://api.groq.com/openai/v1", "variable": "", "command": "", "headers": {}} | given
    check_key(load("groq"), asked.pop("url"), **asked)


def test_a_server_of_ones_own_needs_none():
    for name in ("litellm", "sim", "vllm", "local"):
        driver = load(name)
        check_key(driver, driver.default_url, variable="", command="", headers={})


def test_a_header_that_holds_no_key_will_not_do():
    with pytest.raises(UsageError, match="needs a key"):
        check_key(load("groq"), load("groq").default_url, variable="", command="", headers={"X-Team": "a"})


def test_a_key_of_the_environment_will_do(monkeypatch):
    monkeypatch.setenv("GROQ_API_KEY", "x")
    check_key(load("groq"), load("groq").default_url, variable="", command="", headers={})


def test_an_empty_variable_is_no_key(monkeypatch, nobody):
    monkeypatch.setenv("GROQ_API_KEY", "")
    assert "needs a key" in refusal(backend="groq")


# ---------------------------------------------------------------- said by a command


def test_a_command_says_the_key_and_nothing_repeats_it(serve, tmp_path):
    heard = []
    models = json.dumps({"data": [{"id": "m", "object": "model"}]}).encode()
    server = serve(answers(body=models, heard=heard))
    command = script_of(tmp_path, f"print('{CANARY}')")
    with resolved(options("openai", url=server.url, token_command=command), lambda _: None) as who:
        assert who.target.key == CANARY
        assert CANARY not in repr(who.target)
    assert heard[0].headers["authorization"] == f"Bearer {CANARY}"


def test_a_command_comes_before_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("GROQ_API_KEY", "from-the-environment")
    command = script_of(tmp_path, f"print('{CANARY}')")
    assert benchsuite.keys.key(load("groq"), variable="GROQ_API_KEY", command=command) == CANARY


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"import sys; print('{CANARY}'); print('{CANARY}', file=sys.stderr); sys.exit(3)", "exit code 3"),
        ("pass", "has to print the key"),
        (f"print('{CANARY}'); print('{CANARY}')", "has to print the key"),
        (f"print('{CANARY}\\u017c')", "has to print the key"),
    ],
)
def test_a_command_that_fails_is_told_without_what_it_said(tmp_path, text, told):
    with pytest.raises(UsageError) as caught:
        said(script_of(tmp_path, text))
    assert told in str(caught.value) and CANARY not in str(caught.value)


@pytest.mark.parametrize("command", [f"/no/such/{CANARY}", f"'{CANARY}", "", " "])
def test_a_command_that_is_none_is_told_without_its_words(command):
    with pytest.raises(UsageError, match="--token-command") as caught:
        said(command)
    assert CANARY not in str(caught.value)


def test_a_command_runs_without_a_shell(tmp_path):
    command = script_of(tmp_path, "import sys; print(sys.argv[1])")
    assert said(f"{command} '$HOME;'") == "$HOME;"


def test_a_key_is_said_again_when_it_is_old(serve, tmp_path, monkeypatch):
    counted = tmp_path / "count"
    counted.write_text("")
    command = script_of(
        tmp_path, f"f = open({str(counted)!r}, 'r+'); n = len(f.read()); f.write('x'); print(f'key-{{n}}')"
    )
    models = json.dumps({"data": [{"id": "m", "object": "model"}]}).encode()
    server = serve(answers(body=models))
    asked = options("openai", url=server.url, token_command=command)
    with resolved(asked, lambda _: None) as who:
        assert who.target.key == "key-0"
        assert with_fresh_key(asked, who) is who
        old = msgspec.structs.replace(who, key_ns=who.key_ns - int(601e9))
        fresh = with_fresh_key(asked, old)
        assert fresh.target.key == "key-1" and fresh.key_ns > who.key_ns - 1
        assert with_fresh_key(asked, fresh) is fresh
        bare = msgspec.structs.replace(asked, token_command="")
        assert with_fresh_key(bare, old) is old


@pytest.mark.parametrize("words", [("--token-command", f"say {CANARY}"), (f"--token-command=say {CANARY}",)])
def test_the_stored_command_hides_it(words):
    kept = typed("run", ["--backend", "openai", *words, "--model", "m"])
    assert CANARY not in kept and "--token-command" in kept and kept.endswith("--model m")


# ---------------------------------------------------------------- who answers


@pytest.mark.parametrize(
    ("name", "status", "body"),
    [
        ("gemini", b"400 Bad Request", b'{"error":{"code":400,"message":"API key not valid.","status":"X"}}'),
        ("anthropic", b"401 Unauthorized", b'{"type":"error","error":{"type":"authentication_error"}}'),
        ("groq", b"401 Unauthorized", b'{"error":{"message":"Invalid API Key","code":"invalid_api_key"}}'),
    ],
)
def test_a_wrong_key_is_told_as_one(serve, monkeypatch, name, status, body):
    variable = load(name).key_variables[0]
    monkeypatch.setenv(variable, "wrong")
    server = serve(answers(status, body))
    told = refusal(TargetError, backend=name, url=server.url)
    assert f"refuses the key (HTTP {status[:3].decode()}), which comes from {variable}" in told


def test_a_missing_key_is_asked_for(serve, monkeypatch):
    monkeypatch.delenv("GROQ_API_KEY", raising=False)
    server = serve(answers(b"401 Unauthorized", b'{"error":{"message":"Invalid API Key"}}'))
    told = refusal(TargetError, backend="groq", url=server.url)
    assert told.endswith("wants a key (HTTP 401); put it into GROQ_API_KEY")


def listing(ids):
    return json.dumps({"data": [{"id": name, "object": "model"} for name in ids]}).encode()


def test_hundreds_of_models_are_neither_told_nor_kept(serve, monkeypatch):
    server = serve(answers(body=listing(f"vendor/m-{i}" for i in range(400))))
    told = refusal(ChoiceNeeded, backend="groq", url=server.url)
    assert len(told) < 300 and "and 392 more" in told
    monkeypatch.setattr("benchsuite.target.is_hosted", lambda driver, url: True)
    for model, kept in (("vendor/m-7", ("vendor/m-7",)), ("an-alias", ())):
        with resolved(options("groq", url=server.url, model=model), lambda _: None) as who:
            assert (who.target.model, who.identity.models) == (model, kept)


def test_a_vendor_that_lists_nothing_wants_a_model(serve, monkeypatch):
    monkeypatch.setattr("benchsuite.target.is_hosted", lambda driver, url: True)
    server = serve(answers(body=listing(["base-model"])))
    assert "say which one with --model" in refusal(backend="azure", url=server.url)


def test_a_model_may_be_named_as_google_lists_it(serve):
    models = {"models": [{"name": "models/gemini-a"}, {"name": "models/gemini-b"}]}
    server = serve(answers(body=json.dumps(models).encode()))
    with resolved(options("gemini", url=server.url, model="models/gemini-b"), lambda _: None) as who:
        assert who.target.model == "gemini-b" and "gemini-b" in who.identity.models
