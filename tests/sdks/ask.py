"""Runs in an environment of official SDKs: asks as each SDK's documentation shows, and says what it said.

Standard input: a case a line, as JSON (`sdk`, `door`, `stream`, `url`, `prompt`, `max_tokens`). Output: what
came of it, in the words of `said`. Knows nothing of benchsuite.
"""

import json
import sys

KEY = "sdk-key"
MODEL = "sim-model"


def said(case, **found):
    """What an SDK tells of an answer; None: nothing of the kind. A stream's texts stand in the case."""
    blank = dict.fromkeys(("prompt", "output", "cached", "written", "finish"))
    return {**blank, "text": case["text"], "thought": case["thought"], **found}


def openai_client(case):
    import openai

    return openai.OpenAI(base_url=case["url"] + "/v1", api_key=KEY, max_retries=0)


def usage_of_chat(usage):
    if usage is None:
        return {}
    details = getattr(usage, "prompt_tokens_details", None)
    cached = getattr(details, "cached_tokens", None)
    return {"prompt": usage.prompt_tokens, "output": usage.completion_tokens, "cached": cached}


def openai_chat(case):
    messages = [{"role": "user", "content": case["prompt"]}]
    return chat_said(case, openai_client(case).chat.completions.create, messages=messages)


def chat_said(case, create, **fields):
    """One that looks like OpenAI's chat, whole or streamed: huggingface_hub copies it."""
    more = {"stream_options": {"include_usage": True}} if case["stream"] else {}
    answer = create(model=MODEL, max_tokens=case["max_tokens"], stream=case["stream"], **more, **fields)
    if not case["stream"]:
        choice = answer.choices[0]
        thought = getattr(choice.message, "reasoning", None) or getattr(
            choice.message, "reasoning_content", None
        )
        found = usage_of_chat(answer.usage)
        return said(
            case,
            text=choice.message.content or "",
            thought=thought or "",
            finish=choice.finish_reason,
            **found,
        )
    found = {}
    for chunk in answer:
        for choice in chunk.choices:
            delta = choice.delta
            case["text"] += delta.content or ""
            case["thought"] += (
                getattr(delta, "reasoning", None) or getattr(delta, "reasoning_content", None) or ""
            )
            if choice.finish_reason:
                found["finish"] = choice.finish_reason
        if chunk.usage:
            found |= usage_of_chat(chunk.usage)
    return said(case, **found)


def openai_completions(case):
    more = {"stream_options": {"include_usage": True}} if case["stream"] else {}
    answer = openai_client(case).completions.create(
        model=MODEL, prompt=case["prompt"], max_tokens=case["max_tokens"], stream=case["stream"], **more
    )
    found = {}
    for chunk in answer if case["stream"] else (answer,):
        for choice in chunk.choices:
            case["text"] += choice.text or ""
            if choice.finish_reason:
                found["finish"] = choice.finish_reason
        if chunk.usage:
            found |= usage_of_chat(chunk.usage)
    return said(case, **found)


def openai_responses(case):
    answer = openai_client(case).responses.create(
        model=MODEL,
        input=case["prompt"],
        max_output_tokens=case["max_tokens"],
        stream=case["stream"],
        store=False,
    )
    if case["stream"]:
        final = None
        for event in answer:
            if event.type == "response.output_text.delta":
                case["text"] += event.delta
            elif event.type in {"response.reasoning_text.delta", "response.reasoning_summary_text.delta"}:
                case["thought"] += event.delta
            elif event.type in {"response.completed", "response.incomplete", "response.failed"}:
                final = event.response
            elif event.type == "error":
                # The SDK hands this one out like any other event.
                return failed(case, event.code, 200)
        answer = final
    else:
        case["text"] = answer.output_text
    if answer is None:
        return said(case)
    if answer.error is not None:
        return failed(case, answer.error.code, 200)
    short = answer.incomplete_details
    usage = answer.usage
    return said(
        case,
        finish=short.reason if short else answer.status,
        prompt=usage and usage.input_tokens,
        output=usage and usage.output_tokens,
        cached=usage and usage.input_tokens_details.cached_tokens,
    )


def anthropic_messages(case):
    import anthropic

    client = anthropic.Anthropic(base_url=case["url"], api_key=KEY, max_retries=0)
    messages = [{"role": "user", "content": case["prompt"]}]
    more = {"extra_body": {"cache_control": {"type": "ephemeral"}}} if case.get("cache") else {}
    answer = client.messages.create(
        model=MODEL, max_tokens=case["max_tokens"], messages=messages, stream=case["stream"], **more
    )
    if not case["stream"]:
        text = "".join(block.text for block in answer.content if block.type == "text")
        return said(case, text=text, finish=answer.stop_reason, **anthropic_usage(answer.usage, answer.usage))
    first, last, stop = None, None, None
    for event in answer:
        if event.type == "message_start":
            first = event.message.usage
        elif event.type == "content_block_delta":
            case["text"] += getattr(event.delta, "text", "")
            case["thought"] += getattr(event.delta, "thinking", "")
        elif event.type == "message_delta":
            last, stop = event.usage, event.delta.stop_reason
    return said(case, finish=stop, **anthropic_usage(first, last))


def anthropic_usage(first, last):
    """Its input tokens leave out what a cache gave or took."""
    if first is None or last is None:
        return {}
    read, written = first.cache_read_input_tokens, first.cache_creation_input_tokens
    prompt = first.input_tokens + (read or 0) + (written or 0)
    return {"prompt": prompt, "cached": read, "written": written, "output": last.output_tokens}


def gemini_generate(case):
    from google import genai
    from google.genai import types

    client = genai.Client(api_key=KEY, http_options=types.HttpOptions(base_url=case["url"]))
    asked = {
        "model": MODEL,
        "contents": case["prompt"],
        "config": types.GenerateContentConfig(max_output_tokens=case["max_tokens"]),
    }
    models = client.models
    answers = (
        models.generate_content_stream(**asked) if case["stream"] else [models.generate_content(**asked)]
    )
    found = {}
    for answer in answers:
        for candidate in answer.candidates or ():
            for part in (candidate.content and candidate.content.parts) or ():
                if part.thought:
                    case["thought"] += part.text or ""
                else:
                    case["text"] += part.text or ""
            if candidate.finish_reason:
                found["finish"] = candidate.finish_reason.value
        usage = answer.usage_metadata
        if usage:
            output = (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0)
            found |= {"prompt": usage.prompt_token_count, "output": output}
            found["cached"] = usage.cached_content_token_count
    return said(case, **found)


def ollama_client(case):
    import ollama

    return ollama.Client(host=case["url"], headers={"Authorization": f"Bearer {KEY}"})


def ollama_chat(case):
    messages = [{"role": "user", "content": case["prompt"]}]
    options = {"num_predict": case["max_tokens"]}
    answer = ollama_client(case).chat(model=MODEL, messages=messages, stream=case["stream"], options=options)
    return ollama_said(case, answer if case["stream"] else (answer,), lambda part: part.message, "content")


def ollama_generate(case):
    options = {"num_predict": case["max_tokens"]}
    answer = ollama_client(case).generate(
        model=MODEL, prompt=case["prompt"], stream=case["stream"], options=options
    )
    return ollama_said(case, answer if case["stream"] else (answer,), lambda part: part, "response")


def ollama_said(case, parts, holder, field):
    found = {}
    for part in parts:
        case["text"] += getattr(holder(part), field) or ""
        case["thought"] += holder(part).thinking or ""
        if part.done:
            found = {"finish": part.done_reason, "prompt": part.prompt_eval_count, "output": part.eval_count}
    return said(case, **found)


def hub_chat(case):
    from huggingface_hub import InferenceClient

    client = InferenceClient(base_url=case["url"] + "/v1", api_key=KEY)
    messages = [{"role": "user", "content": case["prompt"]}]
    return chat_said(case, client.chat.completions.create, messages=messages)


def hub_generate(case):
    from huggingface_hub import InferenceClient

    client = InferenceClient(model=case["url"], token=KEY)
    asked = {"max_new_tokens": case["max_tokens"], "stream": case["stream"], "details": True}
    return native_said(case, client.text_generation(case["prompt"], **asked))


def text_generation_generate(case):
    from text_generation import Client

    client = Client(case["url"], headers={"Authorization": f"Bearer {KEY}"})
    ask = client.generate_stream if case["stream"] else client.generate
    return native_said(case, ask(case["prompt"], max_new_tokens=case["max_tokens"]))


def native_said(case, answer):
    """TGI's own door: one part a token, and the details with the last."""
    if not case["stream"]:
        return said(case, text=answer.generated_text, **native_details(answer.details))
    found = {}
    for part in answer:
        case["text"] += part.token.text
        if part.details is not None:
            found = native_details(part.details)
    return said(case, **found)


def native_details(details):
    reason = details.finish_reason
    return {"finish": getattr(reason, "value", reason), "output": details.generated_tokens}


def failed(case, kind, status):
    """An error, and what had been said before it."""
    return {"error": kind, "status": status, "text": case["text"], "thought": case["thought"]}


def status_of(error):
    """The HTTP status, wherever an SDK keeps it."""
    for holder in (error, getattr(error, "response", None)):
        for name in ("status_code", "code"):
            if isinstance(value := getattr(holder, name, None), int):
                return value
    return None


ASKS = {
    "openai chat": openai_chat,
    "openai completions": openai_completions,
    "openai responses": openai_responses,
    "anthropic messages": anthropic_messages,
    "google-genai generate": gemini_generate,
    "ollama chat": ollama_chat,
    "ollama generate": ollama_generate,
    "huggingface_hub chat": hub_chat,
    "huggingface_hub generate": hub_generate,
    "text-generation generate": text_generation_generate,
}


def main():
    for line in sys.stdin:
        case = json.loads(line) | {"text": "", "thought": ""}
        try:
            told = ASKS[f"{case['sdk']} {case['door']}"](case)
        except Exception as error:
            told = failed(case, type(error).__name__, status_of(error))
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
