"""A specification to begin with, every key explained: what `benchsuite backends http` prints."""

from typing import Final

EXAMPLE: Final = """\
# my-api.toml: how benchsuite speaks to an API that it has no driver for.
#   benchsuite run --backend http --spec my-api.toml --url https://host/base

name = "my-api"                 # what reports call the server

[request]
method = "POST"                 # or "GET", with {prompt} in the path
path = "/generate"              # below --url
headers = { Authorization = "Bearer {key}" }    # {key}: from --api-key-env VARIABLE; only headers may hold it

# The JSON body. A text that is one placeholder takes the value itself, a number as a number:
# {prompt} {messages} {model} {max_tokens} {min_tokens} {seed} {cache} {reasoning}
[request.body]
model = "{model}"
input = "{prompt}"              # or: messages = "{messages}", as OpenAI has them
max_new_tokens = "{max_tokens}"
stream = true

[answer]
framing = "sse"                 # or "ndjson", "lines" (of text), "json" (not streamed: no TTFT)
text = "choices.0.text"         # path of an event's text; `*` is every member, `.` the whole event
# text_if = { path = "type", equals = "token" }      # only such events have text
# reasoning = "thought"         # path of reasoning text; also reasoning_if
# cumulative = true             # each event repeats the text so far
done = "[DONE]"                 # or { path = "type", equals = "end" }; without it, the body's end
# finish = "choices.0.finish_reason"
# error = "error"               # an event with something there is an error

# Token counts; without them each event counts as one token.
[usage]
prompt = "usage.input_tokens"
output = "usage.output_tokens"
# cached = "usage.cached_tokens"
# reasoning = "usage.reasoning_tokens"
# count = "sum"                 # every event has its own number; "events": count events

# The server's own timings: queue_ms, prefill_ms, first_token_ms, decode_ms, load_ms, total_ms.
# [timings]
# queue_ms = "stats.queue_ms"
# total_ms = { path = "stats.seconds", times = 1000 }

# What tells this server from others. Without it anything that answers a GET of [request] path will do.
# [identify]
# path = "/health"
# field = "status"              # has to be in the JSON answer
# version = "version"
# models = "models.*.id"

# What can't be seen from outside.
# [capabilities]
# exact_output = "ignore_eos"   # the member of the body that makes answers exactly as long as asked
# slots = 8                     # requests that it works on at once
"""
