"""Prompts of real text: what they are made of, and that they cost what was asked on real tokenizers."""

import hashlib
import itertools
import re
import time
from importlib.resources import files

import msgspec
import pytest
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from benchsuite.errors import UsageError
from benchsuite.servers import tokenizer, vocabulary
from benchsuite.types import Lengths, Spread, Workload
from benchsuite.workload import corpus
from benchsuite.workload.fit import fit, words
from benchsuite.workload.load import overridden
from benchsuite.workload.passages import counted
from benchsuite.workload.plan import plan
from benchsuite.workload.points import points
from benchsuite.workload.texts import Counted, Writer

OVERHEAD = 11
CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}]*[\p{Ll}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}]+[\p{Ll}]*|"
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def byte_level(pattern=None):
    """Our own vocabulary, which is of GPT-2's kind, with the pattern that cuts the text given."""
    found = Tokenizer.from_str(msgspec.json.encode(tokenizer.definition(vocabulary.load())).decode())
    if pattern:
        cut = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
        found.pre_tokenizer = pre_tokenizers.Sequence(
            [cut, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
        )
    return found


def sentencepiece():
    """A tokenizer of Llama 2's kind, which cuts no text before it merges."""
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    found = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    found.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    some = corpus.whole("prose")[:60_000].split("\n") + corpus.whole("code")[:40_000].split("\n")
    trainer = trainers.BpeTrainer(vocab_size=6000, special_tokens=["<unk>", *bytes_], show_progress=False)
    found.train_from_iterator([*some, *[" ".join(words())] * 20], trainer)
    found.pre_tokenizer = None
    found.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return found


KINDS = {
    "gpt2": byte_level,
    "cl100k": lambda: byte_level(CL100K),
    "o200k": lambda: byte_level(O200K),
    "sentencepiece": sentencepiece,
}


@pytest.fixture(scope="module", params=KINDS)
def tokens_of(request):
    """What a server with this tokenizer and a chat template says that a prompt costs."""
    found = KINDS[request.param]()
    return lambda text: OVERHEAD + len(found.encode(text, add_special_tokens=False).ids)


def answered(conversation, tokens_of):
    """The end of a fit's conversation with such a server, and the texts that it asked for."""
    asked = []
    try:
        texts = next(conversation)
        while True:
            asked += texts
            texts = conversation.send(tuple(map(tokens_of, texts)))
    except StopIteration as end:
        return end.value, asked


def fitted(tokens_of, text, longest):
    lengths, _ = answered(fit(words()), tokens_of)
    passages, asked = answered(counted(text, longest, lengths), tokens_of)
    return msgspec.structs.replace(lengths, passages=passages), asked


def workload(**changes):
    known = dict(
        name="w", version=1, description="d", prompt_tokens=(300,), output_tokens=(16,), text="prose"
    )
    return Workload(**known | dict(concurrency=(4,), requests=40) | changes)


def requests(asked, lengths, *, point=0, phase="measure", trial=1, seed=0, nonce="n"):
    at = points(asked)[point]
    return list(plan(asked, at, phase=phase, trial=trial, seed=seed, nonce=nonce, lengths=lengths))


@pytest.mark.parametrize("text", ["prose", "code"])
@pytest.mark.parametrize("longest", [64, 1000, 5000])
def test_prompts_cost_what_was_asked_on_real_tokenizers(tokens_of, text, longest):
    lengths, _ = fitted(tokens_of, text, longest)
    drawn = Spread(kind="lognormal", mean=longest / 3, sd=longest / 3, low=OVERHEAD + 1, high=longest)
    asked = workload(text=text, prompt_tokens=(longest, drawn), requests=8)
    for point in (0, 1):
        for request in requests(asked, lengths, point=point):
            off = tokens_of(request.messages[0].content) - request.prompt_tokens
            assert abs(off) <= max(2, 0.01 * request.prompt_tokens)


@pytest.mark.parametrize("text", ["prose", "code"])
def test_most_of_a_prompt_is_real_text(tokens_of, text):
    lengths, _ = fitted(tokens_of, text, 1000)
    cut = corpus.cut(text, lengths.passages.level)
    for request in requests(workload(text=text, prompt_tokens=(1000,), requests=8), lengths):
        content = request.messages[0].content
        real = sum(len(passage) for passage in cut.chunks if passage in content)
        assert real > 0.7 * len(content)
        before = {content[content.index(chunk) - 1] for chunk in cut.chunks if chunk in content}
        assert before == {"\n" if text == "code" else " "}
    assert all(passage in corpus.whole(text) for passage in cut.texts)


def test_counting_passages_costs_few_probes_and_as_much_as_a_few_of_the_longest_prompts():
    lengths = Lengths(words=words(), overhead=OVERHEAD, source="usage")
    for text, longest in itertools.product(("prose", "code"), (30, 512, 4096, 131_072)):
        _, asked = answered(counted(text, longest, lengths), lambda said: OVERHEAD + len(said) // 4)
        assert len(asked) <= 60
        assert sum(map(len, asked)) / 4 < 3 * longest + 3 * min(longest, 4096) + 3000


def test_what_every_joint_adds_is_found_out_and_laid_on_the_passages():
    def odd(said):
        """A tokenizer to which a word after a full stop costs two more, unless it's a probe's."""
        return OVERHEAD + len(said.split()) + (2 * said.count(" ") // 40 if len(said) > 900 else 0)

    lengths, _ = fitted(odd, "prose", 1000)
    assert lengths.passages.joint > 0.5
    reached = [odd(r.messages[0].content) for r in requests(workload(prompt_tokens=(1000,)), lengths)]
    assert abs(sum(reached) / len(reached) - 1000) < 10


def test_passages_that_a_server_refuses_to_count_are_guessed_from_the_others():
    lengths = Lengths(words=words(), overhead=OVERHEAD, source="usage")
    limit = 400

    def small(said):
        return None if len(said) > limit else OVERHEAD + len(said.split())

    passages, _ = answered(counted("prose", 2000, lengths), small)
    cut = corpus.cut("prose", passages.level).texts
    for text, cost in zip(cut, passages.costs, strict=True):
        assert abs(cost - len(text.split())) <= (0 if len(text) < limit - 20 else 0.2 * cost)
    assert answered(counted("prose", 2000, lengths), lambda said: None)[0] is None


ASSUMED = Lengths(words=words(), overhead=0, source="assumed")


@pytest.mark.parametrize(("text", "least", "most"), [("prose", 3.6, 4.9), ("code", 2.6, 3.8)])
def test_without_counts_text_is_sized_by_what_it_costs_about_anywhere(text, least, most):
    for request in requests(workload(text=text, prompt_tokens=(2000,), requests=5), ASSUMED):
        assert least < len(request.messages[0].content) / 2000 < most


def test_the_same_text_is_the_same_on_every_server():
    asked = workload(same="text", prompt_tokens=(400,))
    other, _ = fitted(lambda said: 50 + 2 * len(said.split()), "prose", 400)
    first = [request.messages for request in requests(asked, ASSUMED)]
    assert first == [request.messages for request in requests(asked, other)]
    assert first != [request.messages for request in requests(asked, other, seed=1)]


WORDWISE = fitted(lambda said: OVERHEAD + len(said.split()), "prose", 300)[0]


def test_cold_prompts_begin_differently_and_only_that_depends_on_the_nonce():
    texts = [
        request.messages[0].content
        for trial, seed, nonce in itertools.product((0, 1, 2), (0, 1), "nm")
        for request in requests(workload(), WORDWISE, trial=trial, seed=seed, nonce=nonce)
    ]
    assert len({tuple(text.split()[:4]) for text in texts}) == len(texts)
    salt = 7
    for one, other in zip(*(requests(workload(), WORDWISE, nonce=nonce) for nonce in "nm"), strict=True):
        left, right = (request.messages[0].content.split(" ") for request in (one, other))
        assert left[:salt] != right[:salt] and left[salt:] == right[salt:]


def test_warm_prompts_are_one_text_and_shared_ones_begin_alike():
    warm = {
        request.messages[0].content
        for trial in (0, 1, 2)
        for request in requests(workload(cache=("warm",)), WORDWISE, trial=trial)
    }
    assert len(warm) == 1
    shared = requests(workload(cache=("shared",), shared_tokens=200), WORDWISE)
    (prefix,) = {request.messages[0].content[: request.shared_chars] for request in shared}
    assert len(prefix.split()) + OVERHEAD == 200
    assert len({request.messages[0].content.split()[189] for request in shared}) > 20


def test_different_prompts_have_different_text():
    bodies = {tuple(r.messages[0].content.split(" ")[7:]) for r in requests(workload(requests=200), WORDWISE)}
    assert len(bodies) > 20


def test_planning_a_prompt_takes_far_less_than_a_millisecond():
    writer = Writer(WORDWISE.words, Counted(WORDWISE.passages), 0, "n")
    number = 400
    begun = time.process_time()
    for index in range(number):
        writer.write(f"request {index}", 1000)
    assert (time.process_time() - begun) / number < 0.001


# ---------------------------------------------------------------- drawn lengths


def test_each_request_draws_its_lengths_by_seed_and_trial_and_not_by_nonce():
    spread = Spread(kind="uniform", low=100, high=500)
    asked = workload(prompt_tokens=(spread,), output_tokens=(Spread(kind="uniform", low=5, high=50),))

    def drawn(**which):
        found = requests(asked, WORDWISE, **which)
        for one in found:
            assert one.max_output_tokens == one.min_output_tokens
            assert len(one.messages[0].content.split()) + OVERHEAD == one.prompt_tokens
        return [(one.prompt_tokens, one.max_output_tokens) for one in found]

    first = drawn()
    assert len(set(first)) > 30 and {100 <= p <= 500 and 5 <= o <= 50 for p, o in first} == {True}
    assert drawn(nonce="m") == first
    for change in ({"trial": 2}, {"seed": 1}, {"phase": "warm_up"}):
        assert drawn(**change)[:8] != first[:8]
    prompts, outputs = zip(*first, strict=True)
    assert abs(_correlation(prompts, outputs)) < 0.4, "prompts and answers are drawn each by itself"


def _correlation(left, right):
    a, b = sum(left) / len(left), sum(right) / len(right)
    top = sum((x - a) * (y - b) for x, y in zip(left, right, strict=True))
    return top / (sum((x - a) ** 2 for x in left) * sum((y - b) ** 2 for y in right)) ** 0.5


def test_lengths_shorter_than_the_template_are_raised_to_the_least_possible():
    spread = Spread(kind="uniform", low=1, high=60)
    found = [one.prompt_tokens for one in requests(workload(prompt_tokens=(spread,), requests=300), WORDWISE)]
    assert min(found) == OVERHEAD + 1
    assert 300 * 8 / 59 < found.count(OVERHEAD + 1) < 300 * 15 / 59


def test_a_warm_cache_wants_one_length():
    with pytest.raises(UsageError, match="give one length"):
        overridden(workload(), prompt_tokens=Spread(kind="uniform", low=10, high=20), cache="warm")


# ---------------------------------------------------------------- the corpus


@pytest.mark.parametrize("kind", ["prose", "code"])
def test_the_corpus_is_plain_text_of_nobody(kind):
    text = corpus.whole(kind)
    assert text.isascii() and text.endswith("\n") and not re.search(r"[\r\t]| \n", text)
    assert not re.search("gutenberg|all rights reserved|licensed under", text, re.IGNORECASE)
    assert {"prose": 300_000, "code": 180_000}[kind] < len(text) < 500_000
    readme = files("benchsuite.data").joinpath("corpus", "README.md").read_text(encoding="utf-8")
    assert f"{kind}.txt" in readme


@pytest.mark.parametrize("kind", ["prose", "code"])
def test_chunks_follow_one_another_and_begin_where_text_may_be_cut(kind):
    for tokens in (10, 200, 3000, 200_000):
        cut = corpus.cut(kind, corpus.level_for(kind, tokens))
        place = 0
        for chunk in cut.chunks:
            at = corpus.whole(kind).index(chunk, place)
            assert not corpus.whole(kind)[place:at].strip()
            place = at + len(chunk)
        assert all(text and text == text.strip() for text in cut.texts)
        if kind == "code":
            assert not any(text.startswith("/") for text in cut.texts[1:])
        sizes = [len(level[0]) for level in cut.levels]
        assert sizes == sorted(sizes) and len(cut.texts) <= 60


# ---------------------------------------------------------------- the same for good

GOLDEN = {
    "prose": "1fee343274e24e05",
    "code": "ab9592932a58ae76",
    "random": "a75097d6e6e2fb84",
}


@pytest.mark.parametrize("text", GOLDEN)
def test_the_same_question_is_the_same_bytes_in_every_process_and_version(text):
    spread = Spread(kind="lognormal", mean=300, sd=200, high=1500)
    found = requests(workload(text=text, prompt_tokens=(spread,)), ASSUMED)
    digest = hashlib.sha256()
    for one in found:
        digest.update(f"{one.prompt_tokens} {one.messages[0].content}\0".encode())
    assert digest.hexdigest()[:16] == GOLDEN[text]


def test_lengths_survive_the_store_and_those_of_earlier_versions_are_read():
    again = msgspec.json.decode(msgspec.json.encode(WORDWISE), type=Lengths)
    assert again == WORDWISE
    old = msgspec.json.decode(b'{"words":["a"],"overhead":1,"source":"usage"}', type=Lengths)
    assert old.passages is None
