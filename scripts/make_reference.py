"""Write docs/reference from the code: `make reference`, or name another folder as the argument."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
from backend_pages import backends_page

from benchsuite.cli.root import root
from benchsuite.store.export import PUBLIC_COLUMNS
from benchsuite.store.runs import RunDir
from benchsuite.workload.card import card
from benchsuite.workload.load import load, shipped

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"
COLUMNS = 100
MADE = "<!-- Made by `make reference`; changes here are overwritten. -->"

MEANINGS: Final = {
    "request_id": "unique; sent as `X-Request-Id`. Run, point, trial and index",
    "outcome": "`ok`, `http_error`, `timeout`, `cut_off`, `refused`, `protocol` or `skipped`",
    "error_kind": "what went wrong, e.g. `rate_limited`, `context_length`, `reset`; empty: nothing",
    "http_status": "0: there was no answer",
    "due_ns": "when the schedule wanted it sent",
    "sent_ns": "right before its first byte went to the kernel",
    "first_byte_ns": "arrival of the first byte of the body",
    "first_token_ns": "arrival of the first token event",
    "first_output_ns": "arrival of the first content that isn't reasoning",
    "last_token_ns": "arrival of the last token event",
    "end_ns": "arrival of the end of the body",
    "gaps_us": "µs between successive token events; their sum is last − first to 1 µs",
    "prompt_tokens": "the server's count, cached ones included",
    "output_tokens": "the server's count",
    "cached_tokens": "the server's count",
    "reasoning_tokens": "the server's count; part of the output tokens",
    "cost_usd": "not filled in yet",
    "index": "number of the request in its trial, from 0",
    "phase": "`warm_up` or `measure`",
    "sent_all_ns": "after its last byte went to the kernel",
    "streamed_reasoning": "reasoning came as token events",
    "finish_reason": "the server's word, e.g. `stop` or `length`",
    "reads": "reads that carried token events",
    "merged_events": "token events read together with a later one because the client was late",
    "reader_lag_us": "worst delay between a read's stamp and our holding it, µs",
    "user_stamps": "arrivals were stamped by us instead of the kernel",
    "reconnects": "1: sent once more on a fresh connection",
    "connect_us": "TCP connect time of its connection, µs",
    "tls_us": "TLS handshake time of its connection, µs",
    "server_timings": "JSON with the server's own timings",
    "cache_write_tokens": "prompt tokens that were written to a cache, by the server's count",
    "cache_write_1h_tokens": "of these, those kept for an hour",
    "retry_after_s": "when a server that refused wants to be asked again, in seconds",
    "asked_prompt_tokens": "prompt tokens that were asked for, where that is known",
    "asked_output_tokens": "output tokens that were asked for, or the most that were allowed",
    "asked_cached_tokens": "prompt tokens that a cache which forgets nothing would have had",
    "conversation": "which conversation, from 0",
    "turn": "which turn of it, from 0",
    "group": "which of the shared beginnings, from 0",
    "item": "which item of the dataset, from 0",
    "passed": "whether the answer passed the workload's check",
    "text": "the answer, only with `--keep-text`",
    "point": "number of the point in its run, from 0",
    "trial": "number of the trial, from 1; 0 is warm-up",
}
"""What each exported column is; one without a meaning stops this script."""


def pages() -> dict[str, str]:
    """File name → text."""
    return {"cli.md": cli(), "backends.md": backends(), "workloads.md": workloads(), "records.md": records()}


def cli() -> str:
    """The help text of every command."""
    parts = [
        MADE,
        "# Commands",
        "What `--help` says, at 100 columns. Exit codes: [results](../guide/results.md#exit-codes).",
    ]
    for words, text in _helps(root, None, "benchsuite"):
        parts += [f"## {words}", f"```text\n{text.rstrip()}\n```"]
    return _page(parts)


def _helps(command: click.Command, parent: click.Context | None, name: str) -> Iterator[tuple[str, str]]:
    """(command line, help text) of a command and of those below it."""
    context = click.Context(command, parent=parent, info_name=name, terminal_width=COLUMNS)
    context.max_content_width = COLUMNS
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            assert found is not None
            yield from _helps(found, context, below)


def backends() -> str:
    """What each of our drivers is and can do."""
    return _page([MADE, "# Backends", *backends_page()])


def workloads() -> str:
    """The card of each standard workload."""
    parts = [MADE, "# Standard workloads", "All keys of a file: [the schema](../../workloads/README.md)."]
    for name in shipped():
        rows = [f"| {label} | {text} |" for label, text in card(load(name))]
        parts += [f"## {name}", "\n".join(["| | |", "| --- | --- |", *rows])]
    return _page(parts)


def records() -> str:
    """The columns of exported records, public ones first."""
    with tempfile.TemporaryDirectory() as nothing:
        schema = RunDir(Path(nothing)).records().schema
    rest = [name for name in schema.names if name not in PUBLIC_COLUMNS]
    rows = {True: "", False: ""}
    for name in (*PUBLIC_COLUMNS, *rest):
        field = schema.field(name)
        kind = str(field.type).replace("element: int32 not null", "int32")
        absent = "yes" if field.nullable and name not in {"point", "trial"} else ""
        rows[name in PUBLIC_COLUMNS] += f"| `{name}` | `{kind}` | {absent} | {MEANINGS[name]} |\n"
    head = "| column | type | may be empty | what |\n| --- | --- | --- | --- |\n"
    return _page(
        [
            MADE,
            "# Columns of records",
            "One row a request, from `benchsuite show RUN --format` `jsonl`, `csv` or `parquet`. Names that "
            "end in `_ns` are instants, nanoseconds of the client's CLOCK_MONOTONIC: a difference means "
            "something, a value alone doesn't. Those of a batch count from 1970, by the client's wall clock. "
            "What metrics make of them: "
            "[what is measured](../concepts/metrics.md).",
            "## Public columns",
            "These stay as they are within a schema version.",
            head + rows[True].rstrip(),
            "## Further columns",
            "These come after them and may change with a version.",
            head + rows[False].rstrip(),
        ]
    )


def _page(parts: list[str]) -> str:
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Write all pages."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
