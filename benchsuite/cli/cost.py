"""`benchsuite cost`: what things cost."""

import sys

import click


@click.group()
def cost() -> None:
    """What it costs."""


@cost.command(short_help="What an hour of each GPU costs, and what it can do")
@click.argument("words", metavar="[GPU]", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="All of it as JSON on stdout.")
def gpus(words: tuple[str, ...], as_json: bool) -> None:
    """GPUs: what an hour of each costs, who says so since when, and what it can do.

    GPU shows one with every price that is known.
    """
    import msgspec

    from benchsuite.cli import output
    from benchsuite.errors import UsageError
    from benchsuite.money.gpus import book, find, nearest, parse_gpu
    from benchsuite.report.gpus import gpu_card, gpu_table

    chosen, name = book(), " ".join(words)
    if name:
        gpu = find(parse_gpu(name)[0])
        if gpu is None:
            near = nearest(name)
            hint = f"did you mean {near}?" if near else "`benchsuite cost gpus` lists those that are"
            raise UsageError(f"no GPU called {name!r} is known; {hint}")
        chosen = (gpu,)
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode(chosen) + b"\n")
        return
    width, styled = output.width(), output.styled()
    if name:
        click.echo(gpu_card(chosen[0], width=width, styled=styled))
        return
    click.echo(gpu_table(chosen, width=width, styled=styled))
    click.echo(
        "On demand, US dollars per GPU and hour. `benchsuite cost gpus H100` shows one with other prices;\n"
        "`benchsuite run --gpu H100x2` uses the price, `--gpu-price USD` states yours."
    )
