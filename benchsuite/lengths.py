"""What words cost on one server: found out in a few probes before the clock starts."""

import time
from collections.abc import Generator, Mapping, Sequence
from types import MappingProxyType

import msgspec

from benchsuite.driver import Tokenizes
from benchsuite.engine.exchange import ask
from benchsuite.engine.refusal import REFUSED, wait_s
from benchsuite.errors import TargetError
from benchsuite.identify import patient
from benchsuite.target import Resolved, Tell
from benchsuite.types import Call, Lengths, Message, Request, Stage, Tape, Workload
from benchsuite.workload.agent import first_tool
from benchsuite.workload.bodies import longest_tokens
from benchsuite.workload.conversations import PROBED, probe
from benchsuite.workload.fit import fit, words
from benchsuite.workload.mix import dressed
from benchsuite.workload.passages import counted
from benchsuite.workload.spreads import least

_PROBE_S = 60.0
_PROBES_AT_ONCE = 8
_NAMED = 8
"""How many listed models an error names."""
_BAD_REQUEST = 400
_ROOM = 64
"""Output tokens of a probe where one is too few."""
_TRIES = 4
_QUIET_NS = 2_000_000_000
"""Probing that takes longer tells how far it is."""
_WAIT_S = 1.0
"""Before a refused probe is sent again, where the server doesn't say when; twice as long each time."""


def fitted(
    who: Resolved,
    tell: Tell,
    asks: Mapping[str, object] = MappingProxyType({}),
    workload: Workload | None = None,
) -> Lengths:
    """Find out what words cost on this server, in a few probes of one output token each.

    For a workload of prose or code also what its passages cost, in some dozens of probes.
    `asks`: what each request says besides its text (tools, say), which may cost prompt tokens too.
    A server that answers without counting is asked for the tokens of the same texts, if it can tell them.
    """
    tell(Stage(name="fit", text="waiting for a few short answers, to fit prompt lengths"))
    conversation = _conversation(workload)
    texts, asked, begun_ns = next(conversation), 0, time.monotonic_ns()
    tokenizer = None
    while True:
        if tokenizer is None:
            counts = _charged(who, texts, tell, asks)
        else:
            counts = _tokens(who, tokenizer, texts, tell)
        if not any(counts) and tokenizer is None and isinstance(who.driver, Tokenizes):
            tokenizer = who.driver
            counts = _tokens(who, tokenizer, texts, tell)
        asked += len(texts)
        if time.monotonic_ns() - begun_ns > _QUIET_NS:
            text = f"fitting prompt lengths: {asked} short texts counted so far"
            tell(Stage(name="fit", text=text))
        try:
            texts = conversation.send(counts)
        except StopIteration as end:
            lengths: Lengths = end.value
            counted = tokenizer is not None and lengths.source == "usage"
            return msgspec.structs.replace(lengths, source="tokenizer") if counted else lengths


def _conversation(
    workload: Workload | None,
) -> Generator[tuple[str, ...], tuple[int | None, ...], Lengths]:
    """What words cost, and passages where the workload's prompts are made of them to a length."""
    lengths = yield from fit(words())
    if workload is None or workload.text == "random" or workload.same == "text" or not _made_up(workload):
        return lengths
    if lengths.source == "assumed":
        return lengths
    longest, _ = longest_tokens(workload, None)
    passages = yield from counted(workload.text, longest, lengths)
    return msgspec.structs.replace(lengths, passages=passages)


def with_turns(who: Resolved, lengths: Lengths, workload: Workload, tell: Tell) -> Lengths:
    """The same, with what the chat template adds for each turn of a conversation: one more short answer."""
    if workload.turns == 1 or lengths.source != "usage":
        return lengths
    asks = dressed(workload)
    tool = first_tool(workload.tools) if workload.tool_turns else None

    def cost(lengths: Lengths, answer_words: int) -> int | None:
        messages, spent = probe(lengths, tool, answer_words)
        (tokens,) = _charged(who, [""], tell, {**asks, "messages": messages})
        return None if tokens is None else tokens - lengths.overhead - spent

    beyond = cost(lengths, PROBED)
    if workload.tool_turns and beyond is not None and cost(lengths, 2 * PROBED) != beyond:
        lengths = msgspec.structs.replace(lengths, reads_calls=False)
        beyond = cost(lengths, PROBED)
    if beyond is None:
        return lengths
    if least(workload.user_tokens) <= beyond:
        shortest = f"a later turn takes at least {beyond + 1} tokens, most of them the chat template's"
        tell(Stage(name="ready", text=f"{shortest}: shorter ones have as many"))
    return msgspec.structs.replace(lengths, turn_overhead=max(0, beyond))


def _made_up(workload: Workload) -> bool:
    """Does the text of prompts come from us?"""
    return workload.bodies is None and workload.dataset is None


def _other_models(who: Resolved) -> str:
    """What the server lists instead, where the model that was asked for isn't in its list."""
    listed = who.identity.models
    if not listed or who.target.model in listed:
        return ""
    more = f" and {len(listed) - _NAMED:,} more" if len(listed) > _NAMED else ""
    return f"; it lists {', '.join(listed[:_NAMED])}{more}: give --model as listed"


def _charged(
    who: Resolved, texts: Sequence[str], tell: Tell, asks: Mapping[str, object]
) -> tuple[int | None, ...]:
    """Prompt tokens of each text as its answer's usage says; TargetError where nothing is answered."""
    tapes = _patiently(who, [_call(who, index, text, 1, asks) for index, text in enumerate(texts)], tell)
    if tapes and all(tape.status == _BAD_REQUEST for tape in tapes):
        # Some reasoning models refuse so short an answer.
        calls = [_call(who, index, text, _ROOM, asks) for index, text in enumerate(texts)]
        tapes = _patiently(who, calls, tell)
    replies = [who.driver.decode(tape) for tape in tapes]
    why = f"HTTP {tapes[0].status} {replies[0].error_message}".rstrip() if tapes else ""
    if tapes and all(tape.status in REFUSED for tape in tapes):
        raise TargetError(
            f"the server refuses even short requests: {why}; measure when it has room, "
            "or with an account that may ask more"
        )
    if tapes and tapes[0].status in {401, 403, 404}:
        raise TargetError(f"the server refused a first request: {why}{_other_models(who)}")
    if tapes and all(tape.error.startswith("timeout") for tape in tapes):
        limit_s = patient(who.endpoint, _PROBE_S).connection.timeouts.first_byte_s
        raise TargetError(
            f"the server gave no answer to a short request within {limit_s:g} s; "
            "is it stuck or busy? Try again when it answers"
        )
    return tuple(reply.prompt_tokens for reply in replies)


def _tokens(who: Resolved, tokenizer: Tokenizes, texts: Sequence[str], tell: Tell) -> tuple[int | None, ...]:
    """Tokens of each text as the server's tokenizer counts them."""
    calls = [tokenizer.tokenize(text, who.target) for text in texts]
    return tuple(map(tokenizer.token_count, _patiently(who, calls, tell)))


def _patiently(who: Resolved, calls: Sequence[Call], tell: Tell) -> list[Tape]:
    """Ask, and ask again for what was refused for want of room, when the server wants to be asked again."""
    endpoint = patient(who.endpoint, _PROBE_S)
    tapes = list(ask(endpoint, who.target, calls, _PROBES_AT_ONCE))
    for turn in range(1, _TRIES):
        refused = [index for index, tape in enumerate(tapes) if tape.status in REFUSED]
        # What an account may ask in all doesn't come back by waiting.
        if not refused or any(who.driver.decode(tapes[index]).error_kind == "quota" for index in refused):
            break
        asked = [wait for index in refused if (wait := _wait_s(tapes[index])) is not None]
        seconds = max(asked) if asked else _WAIT_S * 2 ** (turn - 1)
        status = tapes[refused[0]].status
        why = "as the server asks" if asked else "for it to have room"
        tell(Stage(name="fit", text=f"HTTP {status}: waiting {seconds:.3g} s {why}, then asking again"))
        time.sleep(seconds)
        again = ask(endpoint, who.target, [calls[index] for index in refused], 1)
        for index, tape in zip(refused, again, strict=True):
            tapes[index] = tape
    return tapes


def _wait_s(tape: Tape) -> float | None:
    """Seconds that a refusing server wants to be left alone from now on; None: it doesn't say."""
    return wait_s(tape.status, tape.headers, tape.body, tape.end_ns)


def _call(who: Resolved, index: int, text: str, output_tokens: int, asks: Mapping[str, object]) -> Call:
    probe = Request(
        index=index,
        phase="warm_up",
        messages=(Message(role="user", content=text),),
        max_output_tokens=output_tokens,
        min_output_tokens=1,
        cache="cold",
    )
    return who.driver.encode(msgspec.structs.replace(probe, **asks), who.target)
