"""Runs in the environment of the hosted SDKs: leads batches and caches through their lives.

Standard input: one case, as JSON (`vendor`, `ask`, `url`, `ids`, `prompt`, `max_tokens`). Output: a step
each, with the call, how many HTTP answers it took, and what was told. Knows nothing of benchsuite.
"""

import io
import json
import sys
import time

KEY = "sdk-key"
MODEL = "sim-model"
POLL_S = 0.05
LONGEST_S = 20.0


class OpenAI:
    def __init__(self, case, key=KEY):
        import openai

        self.case = case
        self.client = openai.OpenAI(base_url=case["url"] + "/v1", api_key=key, max_retries=0)

    def lines(self):
        body = {
            "model": MODEL,
            "messages": [{"role": "user", "content": self.case["prompt"]}],
            "max_tokens": self.case["max_tokens"],
        }
        for name in self.case["ids"]:
            yield {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body}

    def create(self):
        text = "".join(json.dumps(line) + "\n" for line in self.lines())
        file = self.client.files.create(file=("ask.jsonl", io.BytesIO(text.encode())), purpose="batch")
        assert (file.purpose, file.filename, file.bytes) == ("batch", "ask.jsonl", len(text)), file
        batch = self.client.batches.create(
            input_file_id=file.id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
            metadata={"benchsuite": "label"},
        )
        assert batch.input_file_id == file.id
        return {**self.told(batch), "http": 2}

    def retrieve(self, name):
        return self.told(self.client.batches.retrieve(name))

    def cancel(self, name):
        told = self.told(batch := self.client.batches.cancel(name))
        assert batch.cancelling_at, batch
        return told

    def list(self):
        return [self.told(batch) for batch in self.client.batches.list()]

    def told(self, batch):
        ended = batch.completed_at or batch.failed_at or batch.expired_at or batch.cancelled_at
        counts = batch.request_counts
        return {
            "id": batch.id,
            "state": batch.status,
            "over": batch.status in {"completed", "failed", "expired", "cancelled"},
            "counts": [counts.total, counts.completed, counts.failed],
            "created_s": batch.created_at,
            "ended_s": ended,
            "label": batch.metadata["benchsuite"],
            "files": [name for name in (batch.output_file_id, batch.error_file_id) if name],
        }

    def answers(self, told):
        found, names = {}, told["files"]
        for name in names:
            for line in self.client.files.content(name).text.splitlines():
                said = json.loads(line)
                found[said["custom_id"]] = self.answer(said)
        return found, len(names)

    @staticmethod
    def answer(line):
        from openai.types.chat import ChatCompletion

        if line["error"]:
            return {"error": line["error"]["code"]}
        response = line["response"]
        if response["status_code"] != 200:
            return {"error": response["status_code"]}
        chat = ChatCompletion.model_validate(response["body"])
        usage = chat.usage
        return {
            "counts": [usage.prompt_tokens, usage.completion_tokens],
            "finish": chat.choices[0].finish_reason,
        }

    def content_of_nothing(self):
        self.client.files.content("file-of-nobody")


class Anthropic:
    def __init__(self, case, key=KEY):
        import anthropic

        self.case = case
        self.client = anthropic.Anthropic(base_url=case["url"], api_key=key, max_retries=0)
        self.batches = self.client.messages.batches

    def create(self):
        params = {
            "model": MODEL,
            "max_tokens": self.case["max_tokens"],
            "messages": [{"role": "user", "content": self.case["prompt"]}],
        }
        return self.told(
            self.batches.create(requests=[{"custom_id": name, "params": params} for name in self.case["ids"]])
        )

    def retrieve(self, name):
        return self.told(self.batches.retrieve(name))

    def cancel(self, name):
        told = self.told(batch := self.batches.cancel(name))
        assert batch.cancel_initiated_at, batch
        return told

    def list(self):
        return [self.told(batch) for batch in self.batches.list()]

    def told(self, batch):
        counts = batch.request_counts
        failed = counts.errored + counts.canceled + counts.expired
        over = batch.processing_status == "ended"
        assert (batch.results_url is not None) == over == (batch.ended_at is not None), batch
        assert not over or batch.results_url.startswith(self.case["url"] + "/"), batch.results_url
        return {
            "id": batch.id,
            "state": batch.processing_status,
            "over": over,
            "counts": [counts.processing + counts.succeeded + failed, counts.succeeded, failed],
            "by_kind": counts.model_dump(),
            "created_s": batch.created_at.timestamp(),
            "ended_s": batch.ended_at and batch.ended_at.timestamp(),
            "label": None,
        }

    def answers(self, told):
        """The SDK asks for the batch first, then at the URL that it names."""
        return {one.custom_id: self.answer(one.result) for one in self.batches.results(told["id"])}, 2

    @staticmethod
    def answer(result):
        if result.type == "errored":
            return {"error": result.error.error.type}
        if result.type != "succeeded":
            return {"error": result.type}
        usage = result.message.usage
        counts = [usage.input_tokens, usage.output_tokens]
        return {"counts": counts, "finish": result.message.stop_reason}


class Gemini:
    def __init__(self, case, key=KEY):
        from google import genai
        from google.genai import types

        self.case, self.types = case, types
        options = types.HttpOptions(base_url=case["url"], api_version=case.get("version"))
        self.client = genai.Client(api_key=key, http_options=options)

    def create(self):
        asked = [
            {
                "contents": [{"role": "user", "parts": [{"text": self.case["prompt"]}]}],
                "metadata": {"key": name},
                "config": {"max_output_tokens": self.case["max_tokens"]},
            }
            for name in self.case["ids"]
        ]
        batches = self.client.batches
        return self.told(batches.create(model=MODEL, src=asked, config={"display_name": "label"}))

    def retrieve(self, name):
        return self.told(self.client.batches.get(name=name))

    def cancel(self, name):
        self.client.batches.cancel(name=name)
        return {}

    def list(self):
        return [self.told(batch) for batch in self.client.batches.list()]

    def told(self, batch):
        assert batch.model == f"models/{MODEL}", batch
        return {
            "id": batch.name,
            "state": batch.state.name,
            "over": batch.done,
            "created_s": batch.create_time.timestamp(),
            "ended_s": batch.end_time and batch.end_time.timestamp(),
            "label": batch.display_name,
        }

    def answers(self, told):
        dest = self.client.batches.get(name=told["id"]).dest
        inlined = (dest and dest.inlined_responses) or []
        return {one.metadata["key"]: self.answer(one) for one in inlined}, 1

    @staticmethod
    def answer(one):
        if one.error:
            return {"error": one.error.code}
        usage = one.response.usage_metadata
        counts = [usage.prompt_token_count, usage.candidates_token_count]
        return {"counts": counts, "finish": one.response.candidates[0].finish_reason.value}


VENDORS = {"openai": OpenAI, "anthropic": Anthropic, "gemini": Gemini}


def life(case, steps):
    """From its creation to its answers; `cancel`: its end is asked for after the first request was done."""
    api = VENDORS[case["vendor"]](case)

    def noted(call, told, http=1):
        steps.append({"call": call, "http": http, **told})
        return told

    told = noted("create", api.create())
    name = told["id"]
    if case["ask"] == "cancel":
        time.sleep(case["pause_s"])
        noted("cancel", api.cancel(name))
    until = time.monotonic() + LONGEST_S
    while not told["over"] and time.monotonic() < until:
        told = noted("retrieve", api.retrieve(name))
        time.sleep(POLL_S)
    noted("list", {"batches": api.list()})
    answers, http = api.answers(told)
    noted("answers", {"answers": answers}, http)


def caches(case, steps):
    """Contents that are kept, asked about, used, and forgotten."""
    api = Gemini(case)
    client, types = api.client, api.types
    made = client.caches.create(
        model=MODEL,
        config=types.CreateCachedContentConfig(
            contents=[types.Content(role="user", parts=[types.Part(text=case["kept"])])],
            system_instruction="be brief",
            display_name="kept",
            ttl="600s",
        ),
    )
    seen = client.caches.get(name=made.name)
    listed = [one.name for one in client.caches.list()]
    asked = {
        "model": MODEL,
        "contents": case["prompt"],
        "config": types.GenerateContentConfig(cached_content=made.name, max_output_tokens=case["max_tokens"]),
    }
    usage = client.models.generate_content(**asked).usage_metadata
    streamed = list(client.models.generate_content_stream(**asked))[-1].usage_metadata
    client.caches.delete(name=made.name)
    left = [one.name for one in client.caches.list()]
    gone = {
        "get": refused(lambda: client.caches.get(name=made.name)),
        "generate": refused(lambda: client.models.generate_content(**asked)),
        "delete": refused(lambda: client.caches.delete(name=made.name)),
    }
    steps.append(
        {
            "name": made.name,
            "seen": [seen.name, seen.model, seen.display_name],
            "lives_s": (seen.expire_time - seen.create_time).total_seconds(),
            "tokens": made.usage_metadata.total_token_count,
            "listed": listed,
            "left": left,
            "used": [
                [one.prompt_token_count, one.cached_content_token_count, one.candidates_token_count]
                for one in (usage, streamed)
            ],
            "gone": gone,
        }
    )


def refused(call):
    try:
        call()
    except Exception as error:
        status = getattr(error, "status_code", None) or getattr(error, "code", None)
        return {"error": type(error).__name__, "status": status, "message": str(error)}
    return {"error": None}


def errors(case, steps):
    """What goes wrong: nobody's key, nobody's batch, answers too early, the same id twice."""
    make = VENDORS[case["vendor"]]
    api = make(case)
    unknown = "batches/0000" if case["vendor"] == "gemini" else "batch_of_nobody"
    twice = make(case | {"ids": ["same", "same"]})
    found = {
        "key": refused(make(case, "another").create),
        "unknown": refused(lambda: api.retrieve(unknown)),
        "cancel": refused(lambda: api.cancel(unknown)),
        "twice": refused(twice.create),
    }
    if case["vendor"] == "openai":
        found["file"] = refused(api.content_of_nothing)
    if case["vendor"] == "anthropic":
        found["early"] = refused(lambda: api.answers(api.create()))
    steps.append(found)


def main():
    case = json.loads(sys.stdin.read())
    steps = []
    {"errors": errors, "caches": caches}.get(case["ask"], life)(case, steps)
    print(json.dumps(steps))


if __name__ == "__main__":
    main()
