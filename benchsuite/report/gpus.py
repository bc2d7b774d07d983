"""The price book as tables: all GPUs, or one with every price that is known."""

from collections.abc import Callable, Sequence

from benchsuite.money.gpus import Gpu
from benchsuite.report.money import UNKNOWN, usd
from benchsuite.report.points import Column
from benchsuite.report.render import listing, table, words
from benchsuite.report.units import NOTHING


def gpu_table(gpus: Sequence[Gpu], *, width: int, styled: bool = False) -> str:
    """The price book, one row a GPU; a narrow screen does without TDP and FP8."""

    def column(*heading: str, cell: Callable[[Gpu], str], left: bool = False, drop: int = 0) -> Column:
        return Column(heading=heading, cells=tuple(map(cell, gpus)), left=left, whole=True, drop=drop)

    columns = [
        column("GPU", cell=lambda gpu: gpu.name, left=True),
        column("$/GPU", "hour", cell=_price),
        column("source", cell=lambda gpu: gpu.offer.source if gpu.offer else NOTHING, left=True),
        column("date", cell=lambda gpu: gpu.offer.date if gpu.offer else NOTHING, left=True),
        column("memory", "GB", cell=lambda gpu: _known(gpu.memory_gb)),
        column("TB/s", cell=lambda gpu: _known(gpu.bandwidth_tb_per_s)),
        column("BF16", "TFLOP/s", cell=lambda gpu: _known(gpu.bf16_tflops), drop=1),
        column("FP8", "TFLOP/s", cell=lambda gpu: _known(gpu.fp8_tflops), drop=2),
        column("TDP", "W", cell=lambda gpu: _known(gpu.tdp_w), drop=3),
    ]
    return table(columns, width=width, styled=styled)


def _price(gpu: Gpu) -> str:
    return UNKNOWN if gpu.offer is None else usd(gpu.offer.usd_per_gpu_hour).removeprefix("$")


def gpu_card(gpu: Gpu, *, width: int, styled: bool = False) -> str:
    """One GPU: every price with its date and where it was read, and what it can do."""
    facts = (
        ("memory", gpu.memory_gb, "GB"),
        ("bandwidth", gpu.bandwidth_tb_per_s, "TB/s"),
        ("BF16", gpu.bf16_tflops, "TFLOP/s"),
        ("FP8", gpu.fp8_tflops, "TFLOP/s"),
        ("FP4", gpu.fp4_tflops, "TFLOP/s"),
        ("TDP", gpu.tdp_w, "W"),
    )
    known = [f"{name} {_known(value)} {unit}" for name, value, unit in facts if value is not None]
    lines = [
        f"{gpu.name} ({gpu.maker})" + (f", also {', '.join(gpu.aliases)}" if gpu.aliases else ""),
        words(f"  {', '.join(known)}", width=width, indent=4),
        words(f"  Dense, without sparsity; source: {gpu.specifications}.", width=width, indent=4),
        "",
    ]
    if gpu.offers:
        rows = [
            (
                usd(offer.usd_per_gpu_hour),
                offer.source,
                offer.date or UNKNOWN,
                offer.seen,
                "used" if offer is gpu.offer else "",
            )
            for offer in gpu.offers
        ]
        headings = ("per GPU\nand hour", "source", "date", "read in", "")
        lines.append(listing(headings, rows, width=width, styled=styled, right=headings[:1]))
    if gpu.offer is None:
        lines.append(f"No dated price is known: $ stays {UNKNOWN} unless --gpu-price states one.")
    return "\n".join(lines)


def _known(value: float | None) -> str:
    return NOTHING if value is None else f"{value:,g}"
