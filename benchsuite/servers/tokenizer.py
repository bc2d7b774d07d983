"""A vocabulary in the words of Hugging Face's files, tokenizer.json and tokenizer_config.json."""

from typing import Any

from benchsuite.servers.vocabulary import BEGIN, CHAT_TEMPLATE, END, SPECIAL, Vocabulary


def definition(words: Vocabulary) -> dict[str, Any]:
    """Content of tokenizer.json: byte-level BPE that opens every text with BEGIN, as the GGUF file does."""
    ids = {entry: index for index, entry in enumerate(words.entries)}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": ids[entry],
                "content": entry,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                # Special is what isn't shown in an answer.
                "special": ids[entry] in words.silent,
            }
            for entry in SPECIAL
        ],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [_begin(), _text("A", 0)],
            "pair": [_begin(), _text("A", 0), _text("B", 1)],
            "special_tokens": {BEGIN: {"id": BEGIN, "ids": [ids[BEGIN]], "tokens": [BEGIN]}},
        },
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": words.unknown or None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {entry: index for entry, index in ids.items() if entry not in SPECIAL},
            "merges": list(words.merges),
        },
    }


def settings(words: Vocabulary, context_tokens: int) -> dict[str, Any]:
    """Content of tokenizer_config.json.

    Here the template has to say BEGIN, which llama.cpp puts before a template's text by itself. A
    BEGIN that may show in an answer isn't named as such: engines hide what is named.
    """
    begin = {"bos_token": BEGIN} if words.entries.index(BEGIN) in words.silent else {}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **begin,
        "eos_token": END,
        "model_max_length": context_tokens,
        "clean_up_tokenization_spaces": False,
        "chat_template": BEGIN + CHAT_TEMPLATE,
    }


def _begin() -> dict[str, Any]:
    return {"SpecialToken": {"id": BEGIN, "type_id": 0}}


def _text(which: str, segment: int) -> dict[str, Any]:
    return {"Sequence": {"id": which, "type_id": segment}}
