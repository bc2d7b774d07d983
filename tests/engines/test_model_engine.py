"""Both forms of a model made on the spot mean the same: llama.cpp's tokens are the directory's."""

import http.client
import json
from urllib.parse import urlsplit

import pytest
from tokenizers import Tokenizer

from benchsuite.driver import load
from benchsuite.servers.launch import launched, resolve_model
from benchsuite.servers.model import make_model
from benchsuite.types import Target

pytest.importorskip("xllamacpp", reason="the embedded engine needs xllamacpp")
pytestmark = pytest.mark.engine

TEXTS = (
    "able about accept",
    "def f(x):\n\treturn {'a': [x, 1.5e3]}  # don't we'll, 12345 ~ `|`\n\n    <b>END</b>",
    "naïve café — 東京 🙂\r\n  x",
    "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n",
    "",
)


def test_llama_cpp_and_the_directory_make_the_same_tokens(tmp_path):
    directory = make_model("5m", "f32", tmp_path)
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    launch = load("local").launch(Target(backend="local", url=""))
    with launched(launch, model=resolve_model("shape:5m"), slots=1, context=256, threads=1) as server:
        for text in TEXTS:
            connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=60)
            asked = {"content": text, "add_special": True, "parse_special": True}
            connection.request("POST", "/tokenize", json.dumps(asked), {"Content-Type": "application/json"})
            tokens = json.loads(connection.getresponse().read())["tokens"]
            connection.close()
            assert tokens == tokenizer.encode(text).ids, text
