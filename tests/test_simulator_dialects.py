"""The simulator's dialects, byte for byte: a short answer streamed and whole, and what faults look like.

What is expected is written down here from each API's documents, not taken from benchsuite's readers.
"""

import http.client
import json
from urllib.parse import urlsplit

import pytest

from benchsuite.simulator import SimConfig, read_truth, running

FAST = {"ttft_ms": 0, "itl_ms": 0}
ANTHROPIC = {"anthropic-version": "2026-10-21"}
USER = [{"role": "user", "content": "one two three"}]
CONTENTS = [{"role": "user", "parts": [{"text": "one two three"}]}]
THOUGHTS = {"thinkingConfig": {"includeThoughts": True}}


def ask(url, path, body, headers=None, method="POST"):
    """Status, headers and body of one request."""
    parts = urlsplit(url)
    client = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    try:
        client.request(method, path, json.dumps(body).encode(), headers or {})
        response = client.getresponse()
        return response.status, response.headers, response.read()
    finally:
        client.close()


def heard(body, path, headers=None, **config):
    with running(SimConfig(**{**FAST, **config})) as simulator:
        status, _headers, data = ask(simulator.url, path, body, headers)
    assert status == 200
    return data


def named(data):
    """Events with a name: its name and its data, which says it again."""
    events = []
    for event in data.decode().split("\n\n")[:-1]:
        name, _, said = event.partition("\n")
        said = json.loads(said.removeprefix("data: "))
        assert name == f"event: {said.pop('type')}"
        events.append((name.removeprefix("event: "), said))
    return events


# ---------------------------------------------------------------- Responses


def test_responses_are_numbered_events_with_a_whole_answer_at_the_end():
    body = {"model": "m", "input": "one two three", "max_output_tokens": 2, "stream": True}
    events = named(heard(body, "/v1/responses"))
    assert [name for name, _ in events] == [
        *("response.created", "response.in_progress", "response.output_item.added"),
        *("response.content_part.added", "response.output_text.delta", "response.output_text.delta"),
        *("response.output_text.done", "response.content_part.done", "response.output_item.done"),
        "response.incomplete",
    ]
    assert [said["sequence_number"] for _, said in events] == list(range(10))
    assert [said["delta"] for name, said in events if name.endswith(".delta")] == [" amber", " birch"]
    last = events[-1][1]["response"]
    assert last["incomplete_details"] == {"reason": "max_output_tokens"}
    assert last["output"][0]["content"][0]["text"] == " amber birch"
    assert last["usage"] == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 12,
    }
    whole = json.loads(heard(body | {"stream": False}, "/v1/responses"))
    for answer in (last, whole):
        del answer["created_at"]
    assert whole == last


@pytest.mark.parametrize(
    ("engine", "asked", "deltas"),
    [
        ("", {}, ["response.reasoning_text.delta"] * 2),
        ("openai", {}, []),
        ("openai", {"summary": "auto"}, ["response.reasoning_summary_text.delta"] * 2),
        ("", {"effort": "none"}, None),
    ],
)
def test_reasoning_of_responses_is_told_as_its_server_would(engine, asked, deltas):
    body = {"model": "m", "input": "x", "max_output_tokens": 5, "stream": True, "reasoning": asked}
    events = named(heard(body, "/v1/responses", engine=engine, reasoning_tokens=2))
    assert [said["sequence_number"] for _, said in events] == list(range(len(events)))
    names = [name for name, _ in events if name.endswith(".delta")]
    texts = ["response.output_text.delta"] * (5 if deltas is None else 3)
    assert names == (deltas or []) + texts
    told = events[-1][1]["response"]
    assert told["usage"]["output_tokens_details"]["reasoning_tokens"] == (0 if deltas is None else 2)
    assert [item["type"] for item in told["output"]] == ["reasoning", "message"][deltas is None :]
    padded = ["obfuscation" in said for name, said in events if name.endswith("text.delta")]
    assert set(padded) == {engine == "openai"}


# ---------------------------------------------------------------- Anthropic


def test_messages_are_blocks_between_a_start_and_a_stop():
    body = {"model": "m", "messages": USER, "max_tokens": 3, "stream": True}
    events = named(heard(body, "/v1/messages", ANTHROPIC, reasoning_tokens=1))
    usage = {
        "input_tokens": 10,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "service_tier": "standard",
    }
    none = {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0}
    message = {"id": "msg_sim", "type": "message", "role": "assistant", "model": "m", "content": []}
    message |= {"stop_reason": None, "stop_sequence": None}
    message["usage"] = usage | {"cache_creation": none, "output_tokens": 1}
    thought = {"type": "thinking", "thinking": "", "signature": ""}
    counted = usage | {"output_tokens": 3, "output_tokens_details": {"thinking_tokens": 1}}
    signature = events[4][1].pop("delta")
    assert signature["type"] == "signature_delta"
    assert events == [
        ("message_start", {"message": message}),
        ("content_block_start", {"index": 0, "content_block": thought}),
        ("ping", {}),
        ("content_block_delta", {"index": 0, "delta": {"type": "thinking_delta", "thinking": " amber"}}),
        ("content_block_delta", {"index": 0}),
        ("content_block_stop", {"index": 0}),
        ("content_block_start", {"index": 1, "content_block": {"type": "text", "text": ""}}),
        ("content_block_delta", {"index": 1, "delta": {"type": "text_delta", "text": " amber"}}),
        ("content_block_delta", {"index": 1, "delta": {"type": "text_delta", "text": " birch"}}),
        ("content_block_stop", {"index": 1}),
        ("message_delta", {"delta": {"stop_reason": "max_tokens", "stop_sequence": None}, "usage": counted}),
        ("message_stop", {}),
    ]


def test_a_whole_message_and_one_that_must_not_think():
    body = {"model": "m", "messages": USER, "max_tokens": 2, "thinking": {"type": "disabled"}}
    whole = json.loads(heard(body, "/v1/messages", ANTHROPIC, reasoning_tokens=1))
    assert [block["type"] for block in whole["content"]] == ["text"]
    assert whole["content"][0]["text"] == " amber birch"
    assert (whole["stop_reason"], whole["usage"]["output_tokens"]) == ("max_tokens", 2)
    counted = heard({"model": "m", "messages": USER}, "/v1/messages/count_tokens", ANTHROPIC)
    assert json.loads(counted) == {"input_tokens": 10}


# ---------------------------------------------------------------- Gemini


def test_gemini_counts_in_each_chunk_and_ends_with_the_stream():
    body = {"contents": CONTENTS, "generationConfig": {"maxOutputTokens": 3, **THOUGHTS}}
    data = heard(body, "/v1beta/models/m:streamGenerateContent?alt=sse", reasoning_tokens=1)
    assert data.count(b"\n") == data.count(b"\r\n") == 6
    chunks = [json.loads(event.removeprefix(b"data: ")) for event in data.split(b"\r\n\r\n")[:-1]]
    parts = [chunk["candidates"][0]["content"]["parts"] for chunk in chunks]
    assert parts == [[{"text": " amber", "thought": True}], [{"text": " amber"}], [{"text": " birch"}]]
    assert [chunk["candidates"][0].get("finishReason") for chunk in chunks] == [None, None, "MAX_TOKENS"]
    details = {"promptTokensDetails": [{"modality": "TEXT", "tokenCount": 10}]}
    assert [chunk["usageMetadata"] for chunk in chunks] == [
        {"promptTokenCount": 10, "thoughtsTokenCount": 1, "totalTokenCount": 11, **details},
        {
            **{"promptTokenCount": 10, "thoughtsTokenCount": 1, "candidatesTokenCount": 1},
            **{"totalTokenCount": 12, **details},
        },
        {
            **{"promptTokenCount": 10, "thoughtsTokenCount": 1, "candidatesTokenCount": 2},
            **{"totalTokenCount": 13, **details},
        },
    ]


def test_gemini_hides_thoughts_streams_arrays_and_lives_at_vertex_too():
    body = {"contents": CONTENTS, "generationConfig": {"maxOutputTokens": 4}}
    vertex = "/v1/projects/p/locations/global/publishers/google/models/m:streamGenerateContent"
    chunks = json.loads(heard(body, vertex, reasoning_tokens=2))
    assert [chunk["candidates"][0]["content"]["parts"][0]["text"] for chunk in chunks] == [" amber", " birch"]
    assert chunks[-1]["usageMetadata"]["thoughtsTokenCount"] == 2
    off = {"maxOutputTokens": 2, "thinkingConfig": {"thinkingBudget": 0}}
    whole = json.loads(
        heard(
            {"contents": CONTENTS, "generationConfig": off},
            "/v1/models/m:generateContent",
            reasoning_tokens=2,
        )
    )
    assert whole["candidates"][0]["content"]["parts"] == [{"text": " amber birch"}]
    assert "thoughtsTokenCount" not in whole["usageMetadata"]
    counted = json.loads(heard({"contents": CONTENTS}, "/v1beta/models/m:countTokens"))
    assert counted["totalTokens"] == 10


# ---------------------------------------------------------------- Ollama


def lines(data):
    said = [json.loads(line) for line in data.splitlines()]
    for one in said:
        del one["created_at"]
    return said


def test_ollama_sends_lines_and_counts_in_the_last():
    body = {"model": "m", "messages": USER, "options": {"num_predict": 3}}
    config = {"ttft_ms": 3, "itl_ms": 2, "reasoning_tokens": 1}
    data = heard(body, "/api/chat", **config)
    assert data.endswith(b"}\n")
    said = {"role": "assistant", "content": ""}
    end = {"done": True, "done_reason": "length", "prompt_eval_count": 10, "eval_count": 3}
    end |= {"total_duration": 7_000_000, "prompt_eval_duration": 3_000_000, "eval_duration": 4_000_000}
    assert lines(data) == [
        {"model": "m", "message": said | {"thinking": " amber"}, "done": False},
        {"model": "m", "message": said | {"content": " amber"}, "done": False},
        {"model": "m", "message": said | {"content": " birch"}, "done": False},
        {"model": "m", "message": said, **end},
    ]
    (whole,) = lines(heard(body | {"stream": False, "think": False}, "/api/chat", **config))
    assert whole == {"model": "m", "message": said | {"content": " amber birch cedar"}, **end}


def test_ollama_generates_leaves_out_what_is_nothing_and_may_end_without_a_newline():
    body = {"model": "m", "prompt": "one two three", "raw": True, "options": {"num_predict": 1}}
    data = heard(body, "/api/generate", last_newline=False)
    assert data.endswith(b"}")
    assert lines(data) == [
        {"model": "m", "response": " amber", "done": False},
        {
            **{"model": "m", "response": "", "done": True, "done_reason": "length"},
            **{"prompt_eval_count": 3, "eval_count": 1},
        },
    ]


# ---------------------------------------------------------------- TGI, LM Studio, SGLang


def test_tgi_sends_one_token_an_event_and_the_text_with_the_last():
    body = {"inputs": "one two three", "parameters": {"max_new_tokens": 2, "details": True}}
    data = heard(body, "/generate_stream")
    events = [json.loads(event.removeprefix("data:")) for event in data.decode().split("\n\n")[:-1]]
    assert data.startswith(b"data:{")
    tokens = [event["token"].pop("id") for event in events]
    assert all(isinstance(token, int) for token in tokens)
    rest = {"logprob": -0.5, "special": False}
    details = {"finish_reason": "length", "generated_tokens": 2, "seed": None, "input_length": 3}
    assert events == [
        {"index": 1, "token": {"text": " amber", **rest}, "generated_text": None, "details": None},
        {
            "index": 2,
            "token": {"text": " birch", **rest},
            "generated_text": " amber birch",
            "details": details,
        },
    ]


def test_tgi_tells_its_times_in_the_headers_of_whole_answers():
    body = {"inputs": "one two three", "parameters": {"max_new_tokens": 2}}
    with running(SimConfig(ttft_ms=20, itl_ms=10)) as simulator:
        _status, headers, data = ask(simulator.url, "/generate", body)
        either = json.loads(ask(simulator.url, "/", body)[2])
    assert json.loads(data) == {"generated_text": " amber birch"}
    assert either == [{"generated_text": " amber birch"}]
    names = ("x-prompt-tokens", "x-generated-tokens", "x-inference-time", "x-time-per-token")
    assert [headers[name] for name in names] == ["3", "2", "30", "15"]


def test_lm_studio_begins_and_ends_everything_with_an_event():
    body = {"model": "m", "input": "one two three", "max_output_tokens": 3, "stream": True, "store": False}
    events = named(heard(body, "/api/v1/chat", ttft_ms=4, itl_ms=1, reasoning_tokens=1))
    stats = {"input_tokens": 10, "total_output_tokens": 3, "reasoning_output_tokens": 1}
    stats |= {"tokens_per_second": 1500.0, "time_to_first_token_seconds": 0.004}
    output = [{"type": "reasoning", "content": " amber"}, {"type": "message", "content": " amber birch"}]
    result = {"model_instance_id": "m", "output": output, "stats": stats}
    assert events == [
        ("chat.start", {"model_instance_id": "m"}),
        ("prompt_processing.start", {}),
        ("prompt_processing.progress", {"progress": 1.0}),
        ("prompt_processing.end", {}),
        ("reasoning.start", {}),
        ("reasoning.delta", {"content": " amber"}),
        ("reasoning.end", {}),
        ("message.start", {}),
        ("message.delta", {"content": " amber"}),
        ("message.delta", {"content": " birch"}),
        ("message.end", {}),
        ("chat.end", {"result": result}),
    ]
    whole = heard(body | {"stream": False, "reasoning": "off"}, "/api/v1/chat", reasoning_tokens=1)
    assert json.loads(whole)["output"] == [{"type": "message", "content": " amber birch cedar"}]


def test_sglang_repeats_all_so_far_in_each_event():
    body = {"input_ids": [5, 6, 7], "sampling_params": {"max_new_tokens": 2}, "stream": True}
    data = heard(body, "/generate", engine="sglang")
    events = data.decode().split("\n\n")[:-1]
    assert events.pop() == "data: [DONE]"
    said = [json.loads(event.removeprefix("data: ")) for event in events]
    assert [one["text"] for one in said] == [" amber", " amber birch"]
    counts = [(one["meta_info"]["prompt_tokens"], one["meta_info"]["completion_tokens"]) for one in said]
    assert counts == [(3, 1), (3, 2)]
    ends = [one["meta_info"]["finish_reason"] for one in said]
    assert ends == [None, {"type": "length", "length": 2}]


# ---------------------------------------------------------------- all of them

STREAMS = {
    "/v1/chat/completions": {"model": "m", "messages": USER, "max_tokens": 6, "stream": True},
    "/v1/completions": {"model": "m", "prompt": "one two three", "max_tokens": 6, "stream": True},
    "/v1/responses": {"model": "m", "input": "one two three", "max_output_tokens": 6, "stream": True},
    "/v1/messages": {"model": "m", "messages": USER, "max_tokens": 6, "stream": True},
    "/v1beta/models/m:streamGenerateContent?alt=sse": {
        **{"contents": CONTENTS, "generationConfig": {"maxOutputTokens": 6, **THOUGHTS}},
    },
    "/api/chat": {"model": "m", "messages": USER, "options": {"num_predict": 6}},
    "/api/generate": {"model": "m", "prompt": "one two three", "options": {"num_predict": 6}},
    "/generate_stream": {"inputs": "one two three", "parameters": {"max_new_tokens": 6}},
    "/api/v1/chat": {"model": "m", "input": "one two three", "max_output_tokens": 6, "stream": True},
}
RAW = ("/generate_stream",)
ENDS = {
    "/v1/messages": b'"overloaded_error"',
    "/v1beta/models/m:streamGenerateContent?alt=sse": b'"UNAVAILABLE"',
    "/api/v1/chat": b"event: error\n",
    "/v1/responses": b"event: error\n",
}


@pytest.mark.parametrize("path", STREAMS)
def test_the_truth_of_a_dialect_is_that_of_every_other(path, tmp_path):
    log = str(tmp_path / "truth")
    config = SimConfig(ttft_ms=1, itl_ms=1, tokens_per_event=4, truth_path=log)
    with running(config) as simulator:
        ask(simulator.url, path, STREAMS[path], ANTHROPIC)
    (entry,) = read_truth(log)
    assert (entry.outcome, entry.status, entry.output_tokens) == ("ok", 200, 6)
    assert entry.prompt_tokens == (3 if path in RAW else 10)
    assert len(entry.events_ns) == 2
    due_ns = [
        at_ns - late_us * 1000 for at_ns, late_us in zip(entry.events_ns, entry.lateness_us, strict=True)
    ]
    assert (due_ns[0] - entry.received_ns) // 1_000_000 == 1
    assert round((due_ns[1] - due_ns[0]) / 1e6, 1) == 2.0, "an event comes when its last token is due"


@pytest.mark.parametrize("path", STREAMS)
def test_an_error_in_the_middle_is_told_in_the_dialect_and_ends_the_stream(path, tmp_path):
    log = str(tmp_path / "truth")
    with running(SimConfig(error_midstream_rate=1, truth_path=log, **FAST)) as simulator:
        status, _headers, data = ask(simulator.url, path, STREAMS[path], ANTHROPIC)
    assert status == 200
    texts = [word in data for word in (b" amber", b" birch", b" cedar", b" delta")]
    if path != "/api/v1/chat":  # which repeats at its end what there was
        assert texts == [True, True, True, False]
    assert ENDS.get(path, b'"error"') in data
    (entry,) = read_truth(log)
    assert (entry.outcome, entry.output_tokens) == ("http_error", 3)


@pytest.mark.parametrize("path", STREAMS)
def test_letters_of_several_bytes_survive_events_that_come_in_two_pieces(path):
    body = STREAMS[path]
    whole = heard(body, path, ANTHROPIC, words="unicode")
    pieces = heard(
        body, path, ANTHROPIC, words="unicode", split_events=True, ttft_ms=1, itl_ms=1, timings=False
    )
    for word in ("größe", "naïve", "señal", "кедр", "λίθος", "東京"):
        assert word in whole.decode()
        assert word in pieces.decode()


@pytest.mark.parametrize("path", STREAMS)
def test_a_comment_comes_before_the_first_token_where_the_dialect_has_such_a_thing(path):
    silent = ("/api/chat", "/api/generate", "/v1beta/models/m:streamGenerateContent?alt=sse")
    data = heard(STREAMS[path], path, ANTHROPIC, comments=True)
    assert data.startswith((b":", b"event: ping\n")) == (path not in silent)


@pytest.mark.parametrize("path", STREAMS)
def test_an_answer_that_nothing_forces_may_end_by_itself(path, tmp_path):
    log = str(tmp_path / "truth")
    with running(SimConfig(natural_stop_rate=1, truth_path=log, **FAST)) as simulator:
        data = ask(simulator.url, path, STREAMS[path], ANTHROPIC)[2]
        forced = STREAMS[path] | {"ignore_eos": True}
        ask(simulator.url, path, forced, ANTHROPIC)
    free, told = read_truth(log)
    assert free.output_tokens < 6
    assert (told.output_tokens == 6) == (path in ("/v1/chat/completions", "/v1/completions"))
    assert b"length" not in data and b"MAX_TOKENS" not in data and b'"max_tokens"' not in data
