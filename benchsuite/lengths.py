"""What words cost on one server: found out in a few probes before the clock starts."""

from benchsuite.engine.exchange import ask
from benchsuite.errors import TargetError
from benchsuite.identify import patient
from benchsuite.target import Resolved, Tell
from benchsuite.types import Lengths, Message, Request, Stage
from benchsuite.workload.fit import fit, words

_PROBE_S = 60.0
_PROBES_AT_ONCE = 8


def fitted(who: Resolved, tell: Tell) -> Lengths:
    """Find out what words cost on this server, in a few probes of one output token each."""
    tell(Stage(name="fit", text="waiting for a few short answers, to fit prompt lengths"))
    endpoint = patient(who.endpoint, _PROBE_S)
    conversation = fit(words())
    texts = next(conversation)
    while True:
        calls = [who.driver.encode(_probe(index, text), who.target) for index, text in enumerate(texts)]
        tapes = ask(endpoint, who.target, calls, _PROBES_AT_ONCE)
        replies = [who.driver.decode(tape) for tape in tapes]
        if tapes and tapes[0].status in {401, 403, 404}:
            why = f"HTTP {tapes[0].status} {replies[0].error_message}".rstrip()
            raise TargetError(f"the server refused a first request: {why}")
        if tapes and all(tape.error.startswith("timeout") for tape in tapes):
            limit_s = endpoint.connection.timeouts.first_byte_s
            raise TargetError(
                f"the server gave no answer to a short request within {limit_s:g} s; "
                "is it stuck or busy? Try again when it answers"
            )
        try:
            texts = conversation.send(tuple(reply.prompt_tokens for reply in replies))
        except StopIteration as end:
            lengths: Lengths = end.value
            return lengths


def _probe(index: int, text: str) -> Request:
    return Request(
        index=index,
        phase="warm_up",
        messages=(Message(role="user", content=text),),
        max_output_tokens=1,
        min_output_tokens=1,
        cache="cold",
    )
