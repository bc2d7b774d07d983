"""The price book: GPUs by name, what they can do and what an hour of one costs."""

import math
import tomllib
from importlib.resources import files
from typing import Literal

import msgspec

from benchsuite.errors import UsageError
from benchsuite.money.names import model_words, splits, squeezed, words
from benchsuite.types import Noun, Price

AS_STATED = "as stated"
"""Source of a price that the user gave."""


class Offer(Noun, frozen=True, kw_only=True):
    """A price that `source` asked on `date` (ISO, at least a month; empty: unknown); `seen`: by whom."""

    usd_per_gpu_hour: float
    source: str
    date: str
    seen: str


class Gpu(Noun, frozen=True, kw_only=True):
    """One GPU. Dense TFLOP/s, memory in GB; None: not known, or it has no such arithmetic."""

    name: str
    maker: Literal["NVIDIA", "AMD", "Apple"]
    aliases: tuple[str, ...] = ()
    memory_gb: float | None = None
    bandwidth_tb_per_s: float | None = None
    bf16_tflops: float | None = None
    fp8_tflops: float | None = None
    fp4_tflops: float | None = None
    tdp_w: float | None = None
    specifications: str
    offers: tuple[Offer, ...] = ()

    @property
    def offer(self) -> Offer | None:
        """What is used unless the user states a price: the first that has a date."""
        return next((offer for offer in self.offers if offer.date), None)


def book() -> tuple[Gpu, ...]:
    """All GPUs known, as the file has them."""
    text = files(__package__).joinpath("gpus.toml").read_text(encoding="utf-8")
    return tuple(msgspec.convert({"name": name} | row, Gpu) for name, row in tomllib.loads(text).items())


def find(name: str) -> Gpu | None:
    """The GPU of this name, however it is written: `h100-sxm`, `NVIDIA H100 80GB HBM3`, `4090`."""
    wanted, whole = words(name), squeezed(name)
    return next(
        (
            gpu
            for gpu in book()
            for known in (gpu.name, *gpu.aliases)
            if whole == squeezed(known) or (wanted and wanted == words(known))
        ),
        None,
    )


def nearest(name: str) -> str | None:
    """The known card of the same model in another form, the one most like this; None: there is none.

    Letters alone tell nothing: an L40 is no L40S, an H20 no H200.
    """
    model, wanted = model_words(name), words(name)
    same = [gpu for gpu in book() if model and model_words(gpu.name) == model]
    return max(same, key=lambda gpu: len(words(gpu.name) & wanted)).name if same else None


def as_typed(text: str) -> tuple[str, int]:
    """`H100x8` → (`H100`, 8): the name as it was typed and how many; UsageError if none are."""
    ways = splits(text)
    known = [way for way in ways if find(way[0]) is not None]
    # A name without a letter is none: in 2x4090 it is the 2 that counts.
    likely = [way for way in ways[1:] if any(letter.isalpha() for letter in way[0])]
    name, count = (known or likely or ways)[0]
    if count < 1:
        raise UsageError(f"--gpu {text}: say how many GPUs serve, one or more, as in {name}x2")
    return name, count


def parse_gpu(text: str) -> tuple[str, int]:
    """`h100x8` → (`H100 SXM`, 8): the book's name, or the name as typed where it isn't in the book.

    UsageError for a list: it would read as one GPU.
    """
    if any(mark in text for mark in ",;+&"):
        raise UsageError(f"--gpu {text}: name one kind of GPU and how many serve, as in H100x2")
    name, count = as_typed(text)
    gpu = find(name)
    return (name if gpu is None else gpu.name), count


def price_of(gpu: str, usd_per_gpu_hour: float | None) -> Price | None:
    """What the server's hardware costs; None: neither stated nor in the book.

    `gpu` as on the command line, may be empty. A stated price must be 0 or more, else UsageError.
    """
    name, count = parse_gpu(gpu) if gpu else ("", 1)
    if usd_per_gpu_hour is not None:
        if not 0 <= usd_per_gpu_hour < math.inf:
            raise UsageError("--gpu-price is in US dollars per GPU and hour, 0 or more")
        return Price(gpu=name, count=count, usd_per_gpu_hour=usd_per_gpu_hour, source=AS_STATED)
    known = find(name) if name else None
    if known is None or known.offer is None:
        return None
    offer = known.offer
    return Price(
        gpu=name,
        count=count,
        usd_per_gpu_hour=offer.usd_per_gpu_hour,
        source=offer.source,
        date=offer.date,
    )
