"""`benchsuite simulate`: a pretend LLM server with known timing."""

from typing import Any

import click

from benchsuite.cli.kinds import milliseconds, seconds, share

_FAULTS = (
    ("--error-500", "error_500_rate", "answered with HTTP 500"),
    ("--error-429", "error_429_rate", "answered with HTTP 429"),
    ("--error-503", "error_503_rate", "answered with HTTP 503"),
    ("--reset", "reset_rate", "whose connection is reset"),
    ("--stall", "stall_rate", "whose answer stalls"),
    ("--short", "short_rate", "whose answer is too short"),
    ("--error-midstream", "error_midstream_rate", "that fail in the middle"),
)


def _faults(command: Any) -> Any:
    """One option a fault."""
    for option, field, what in reversed(_FAULTS):
        command = click.option(
            option, field, type=share, metavar="SHARE", help=f"Share of requests {what}: 10% or 0.1."
        )(command)
    return command


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8089, show_default=True, help="0: any.")
@click.option("--host", metavar="ADDRESS", help="Address to listen at. [127.0.0.1]")
@click.option("--ttft", "ttft_ms", type=milliseconds, metavar="TIME", help="Time to first token. [50ms]")
@click.option("--ttft-cv", type=float, metavar="CV", help="How much it varies (lognormal). [0]")
@click.option("--itl", "itl_ms", type=milliseconds, metavar="TIME", help="Time between tokens. [10ms]")
@click.option("--itl-cv", type=float, metavar="CV", help="How much it varies (lognormal). [0]")
@click.option(
    "--prefill-us", "prefill_us_per_token", type=float, metavar="US", help="µs per prompt token. [0]"
)
@click.option("--slowdown", "batch_slowdown", type=float, metavar="X", help="ITL grows by X per other. [0]")
@click.option("--slots", type=int, metavar="N", help="Served at once; 0: everybody. [0]")
@click.option("--seed", type=int, metavar="N", help="Repeats what is drawn. [0]")
@click.option("--model", metavar="NAME", help="The model's name. [sim-model]")
@click.option("--strict/--no-strict", default=None, help="Refuse other models' names.")
@click.option("--context", "context_tokens", type=int, metavar="N", help="Context. [131072]")
@click.option("--template-tokens", type=int, metavar="N", help="Cost of the chat template. [7]")
@click.option("--message-tokens", type=int, metavar="N", help="Cost of each further message. [4]")
@click.option("--prefix-cache/--no-prefix-cache", default=None, help="Remember prompts.")
@click.option("--cache-block", "cache_block_tokens", type=int, metavar="N", help="Its block size. [16]")
@click.option("--cache-prompts", type=int, metavar="N", help="Prompts it remembers. [1024]")
@click.option("--cache-min", "cache_min_tokens", type=int, metavar="N", help="No shorter prompts. [0]")
@click.option("--max-tokens", "default_max_tokens", type=int, metavar="N", help="If none is asked. [16]")
@click.option("--tokens-per-event", type=int, metavar="N", help="Tokens in an event. [1]")
@click.option("--reasoning-tokens", type=int, metavar="N", help="So many are reasoning. [0]")
@click.option(
    "--role-chunk", type=click.Choice(["with_first", "early", "none"]), help="The role chunk. [with_first]"
)
@click.option(
    "--engine",
    type=click.Choice(
        [
            *("vllm", "sglang", "tensorrt", "llamacpp", "mlx", "transformers"),
            *("ollama", "lmstudio", "tgi", "openai"),
        ]
    ),
    help="Whom /v1 and its pages sound like. [nobody]",
)
@click.option("--natural-stop", "natural_stop_rate", type=share, metavar="SHARE", help="End early. [0]")
@click.option("--num-ctx", type=int, metavar="N", help="Ollama's context if none is asked. [4096]")
@click.option("--load-time", "load_ms", type=milliseconds, metavar="TIME", help="Loading a model. [0]")
@click.option("--timings/--no-timings", default=None, help="Tell its own times. [as the engine]")
@click.option("--comments/--no-comments", default=None, help="Send a comment or ping at once.")
@click.option("--words", type=click.Choice(["ascii", "unicode"]), help="The answer's letters. [ascii]")
@click.option("--tool-calls/--no-tool-calls", default=None, help="Call the first tool offered.")
@click.option("--adapter", "adapters", multiple=True, metavar="NAME", help="A further model that it knows.")
@click.option("--split-events/--no-split-events", default=None, help="Send each event in two pieces.")
@click.option("--last-newline/--no-last-newline", default=None, help="End lines of JSON with one. [yes]")
@click.option("--key", metavar="TEXT", help="A made-up key that clients have to bring.")
@click.option("--retry-after", "retry_after_s", type=seconds, metavar="TIME", help="In a 429. [1s]")
@click.option("--usage/--no-usage", default=None, help="Report token counts. [yes]")
@click.option("--keep-alive/--no-keep-alive", default=None, help="Keep connections open. [yes]")
@click.option("--http10/--no-http10", default=None, help="Speak HTTP/1.0.")
@click.option(
    "--batch-time", "batch_seconds", type=seconds, metavar="TIME", help="A batch takes so long. [2s]"
)
@click.option("--batch-expires", "batch_expires_s", type=seconds, metavar="TIME", help="Unless it expires.")
@click.option(
    "--batch-fail", "batch_fail_rate", type=share, metavar="SHARE", help="Its requests that fail. [0]"
)
@click.option("--batch-cancel", "batch_cancel_s", type=seconds, metavar="TIME", help="Cancelling takes. [0]")
@click.option("--batch-log", metavar="FILE", help="Write down each batch that was handed in.")
@_faults
@click.option("--stall-for", "stall_s", type=seconds, metavar="TIME", help="Then close; 0: never. [0]")
@click.option("--tls-cert", metavar="FILE", help="Serve https with this certificate.")
@click.option("--tls-key", metavar="FILE", help="Its key.")
@click.option("--answers", "answers_path", metavar="FILE", help="A JSON object: text in a prompt → answer.")
@click.option("--truth", "truth_path", metavar="FILE", help="Write down what was really sent when.")
def simulate(**given: Any) -> None:
    """A pretend LLM server with known timing, for tests and CI.

    Runs until Ctrl-C.
    """
    from benchsuite.simulator import SimConfig, serve
    from benchsuite.simulator.batch_config import BatchConfig

    said = {field: value for field, value in given.items() if value not in (None, ())}
    batches = {
        field: said.pop(name) for field in BatchConfig.__struct_fields__ if (name := f"batch_{field}") in said
    }
    config = SimConfig(**said, batches=BatchConfig(**batches))
    backend = config.engine or "sim"

    def on_ready(url: str) -> None:
        click.echo(f"A simulator with TTFT {config.ttft_ms:g} ms and ITL {config.itl_ms:g} ms is at {url}")
        click.echo(f"Measure it: benchsuite run --backend {backend} --url {url}")

    serve(config, on_ready)
