"""Names, prices and costs; every expected cost is worked out by hand beside it."""

import re

import pytest

from benchsuite.errors import UsageError
from benchsuite.money.cost import load_costs
from benchsuite.money.evidence import Use, contradiction, gpus_used
from benchsuite.money.gpus import book, find, nearest, parse_gpu, price_of
from benchsuite.money.names import contradict, squeezed, words
from benchsuite.types import Estimate, Price

# As `nvmlDeviceGetName` has them.
H100 = "NVIDIA H100 80GB HBM3"
H100_PCIE = "NVIDIA H100 PCIe"
A100 = "NVIDIA A100-SXM4-80GB"
L4 = "NVIDIA L4"
L40S = "NVIDIA L40S"
RTX_4090 = "NVIDIA GeForce RTX 4090"


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("text", "name", "count"),
    [
        ("H100", "H100 SXM", 1),
        ("h100-sxm", "H100 SXM", 1),
        ("H100 SXM5 80GB", "H100 SXM", 1),
        ("H100x8", "H100 SXM", 8),
        ("8xH100", "H100 SXM", 8),
        ("8 × h100", "H100 SXM", 8),
        ("H100:2", "H100 SXM", 2),
        ("H100 NVL", "H100 NVL", 1),
        ("h100nvl*4", "H100 NVL", 4),
        ("A100-80G", "A100 SXM 80GB", 1),
        ("A100 40 GB", "A100 SXM 40GB", 1),
        ("a100-pcie-40gb", "A100 PCIe 40GB", 1),
        ("4090", "RTX 4090", 1),
        ("RTX4090", "RTX 4090", 1),
        ("2x4090", "RTX 4090", 2),
        ("4090x2", "RTX 4090", 2),
        ("MI300X", "MI300X", 1),
        ("MI300Xx8", "MI300X", 8),
        ("L40Sx2", "L40S", 2),
        ("Apple M4 Max", "M4 Max", 1),
        (H100, "H100 SXM", 1),
        (H100_PCIE, "H100 PCIe", 1),
        (A100, "A100 SXM 80GB", 1),
        ("NVIDIA A100 80GB PCIe", "A100 PCIe 80GB", 1),
        (RTX_4090, "RTX 4090", 1),
        ("AMD Instinct MI300X", "MI300X", 1),
        # Not in the book: as typed, and the X of RTX or GTX counts nothing.
        ("FooBar", "FooBar", 1),
        ("FooBarx2", "FooBar", 2),
        ("GTX 1080", "GTX 1080", 1),
        ("GeForce RTX 3090 x 2", "GeForce RTX 3090", 2),
    ],
)
def test_a_gpu_is_known_however_it_is_written(text, name, count):
    assert parse_gpu(text) == (name, count)


def test_none_of_a_gpu_is_a_mistake():
    with pytest.raises(UsageError, match="H100x2"):
        parse_gpu("H100x0")


@pytest.mark.parametrize("text", ["H100,H100", "H100x4, H100x4", "H100+L4", "FooBar,FooBar"])
def test_a_list_of_gpus_is_refused_and_told_how_to_count(text):
    with pytest.raises(UsageError, match="H100x2"):
        parse_gpu(text)
    with pytest.raises(UsageError, match="H100x2"):
        price_of(text, 2.0)


def test_an_unknown_name_gets_only_a_card_of_the_same_model():
    assert nearest("H100 96GB") == "H100 SXM"
    assert nearest("NVIDIA h100-pcie-96gb") == "H100 PCIe"
    assert nearest("rtx4090 48GB") == "RTX 4090"
    assert nearest("A100 PCIe 94GB").startswith("A100 PCIe")
    for other in ("L40", "H20", "H1000", "RTX 4080", "RTX 4090 Ti", "M4 Ultra", "A30", "FooBar", "80GB", ""):
        assert nearest(other) is None, other


def test_no_name_means_two_gpus():
    for read in (squeezed, words):
        names = [(read(name), gpu.name) for gpu in book() for name in {gpu.name, *gpu.aliases}]
        owners = {}
        for key, owner in names:
            assert owners.setdefault(key, owner) == owner, owner


# ---------------------------------------------------------------- the book


def test_every_row_of_the_book_has_sources():
    gpus = book()
    assert len({gpu.name for gpu in gpus}) == len(gpus) > 20
    for gpu in gpus:
        assert gpu.specifications, gpu.name
        for offer in gpu.offers:
            assert offer.usd_per_gpu_hour > 0 and offer.source and offer.seen, gpu.name
            assert re.fullmatch(r"(20\d\d-[01]\d(-[0-3]\d)?)?", offer.date), gpu.name


def test_arithmetic_is_dense():
    """With sparsity FP8 would be four times BF16."""
    for gpu in book():
        if gpu.fp8_tflops is not None:
            assert gpu.fp8_tflops / gpu.bf16_tflops == pytest.approx(2, rel=0.02), gpu.name


def test_the_default_price_is_the_labelled_one_and_undated_ones_are_never_used():
    assert price_of("H100", None) == Price(
        gpu="H100 SXM", usd_per_gpu_hour=3.99, source="RunPod secure", date="2026-11-09"
    )
    assert price_of("8xA100", None) == Price(
        gpu="A100 SXM 80GB", count=8, usd_per_gpu_hour=1.79, source="RunPod secure", date="2026-11-09"
    )
    secure = [gpu for gpu in book() if any(offer.source == "RunPod secure" for offer in gpu.offers)]
    assert len(secure) > 8 and all(gpu.offer.source == "RunPod secure" for gpu in secure)
    assert find("L4").offers and price_of("L4", None) is None
    assert price_of("FooBar", None) is None and price_of("", None) is None


def test_a_stated_price_goes_before_the_book_and_needs_no_gpu():
    assert price_of("H100x2", 1.5) == Price(
        gpu="H100 SXM", count=2, usd_per_gpu_hour=1.5, source="as stated", date=""
    )
    assert price_of("FooBarx4", 0.0) == Price(gpu="FooBar", count=4, usd_per_gpu_hour=0.0, source="as stated")
    assert price_of("", 2.0) == Price(gpu="", count=1, usd_per_gpu_hour=2.0, source="as stated")
    for wrong in (-0.01, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="--gpu-price"):
            price_of("H100", wrong)


# ---------------------------------------------------------------- cost at a load


def rate(value, low=None, high=None, **more):
    return Estimate(value=value, low=low, high=high, **{"n": 90, "needs": 1, "basis": "3 trials"} | more)


TWO_AT_1_80 = Price(gpu="H100 SXM", count=2, usd_per_gpu_hour=1.80, source="as stated")  # $0.001 a second


def test_costs_are_the_hour_over_what_was_served_in_it():
    rates = {
        "requests_per_s": rate(4.0, 2.0, 5.0),
        "output_tokens_per_s": rate(100.0, 50.0, 125.0),
    }
    found = load_costs(rates, 25.0, TWO_AT_1_80)
    # 1000 × 2 × 1.80 / (3600 × 4) = 0.25; the interval's ends change places: /5 = 0.20, /2 = 0.50.
    per_1k = found["cost_per_1k_usd"]
    assert (per_1k.value, per_1k.low, per_1k.high) == pytest.approx((0.25, 0.20, 0.50))
    assert (per_1k.n, per_1k.basis) == (90, "3 trials")
    # 4 × 25 prompt + 100 output tokens a second: 0.001 × 10^6 / 200; ends 2 × 25 + 50 and 5 × 25 + 125.
    everything = found["cost_per_m_tokens_usd"]
    assert (everything.value, everything.low, everything.high) == pytest.approx((5.0, 4.0, 10.0))
    # 0.001 × 10^6 / 100, ends / 125 and / 50.
    output = found["cost_per_m_output_tokens_usd"]
    assert (output.value, output.low, output.high) == pytest.approx((10.0, 8.0, 20.0))


def test_what_is_not_known_costs_nothing_known():
    rates = {"requests_per_s": rate(4.0), "output_tokens_per_s": rate(100.0)}
    assert load_costs(rates, 25.0, None) == {}
    assert set(load_costs(rates, None, TWO_AT_1_80)) == {"cost_per_1k_usd", "cost_per_m_output_tokens_usd"}
    assert load_costs(rates, 25.0, TWO_AT_1_80)["cost_per_m_tokens_usd"].low is None
    for nothing in (rate(0.0, 0.0, 0.0), rate(None, n=0)):
        found = load_costs(dict.fromkeys(rates, nothing), 25.0, TWO_AT_1_80)
        assert {(each.value, each.low, each.high) for each in found.values()} == {(None, None, None)}


def test_a_rate_that_may_be_nothing_has_no_dearest_cost():
    rates = {"requests_per_s": rate(4.0, -1.0, 9.0), "output_tokens_per_s": rate(100.0)}
    found = load_costs(rates, None, TWO_AT_1_80)["cost_per_1k_usd"]
    assert found.value == pytest.approx(0.25) and found.high is None


# ---------------------------------------------------------------- is it the GPU that was stated?


def against(stated, here, said):
    """The end of the sentence that says what speaks against the card."""
    before, after = contradiction(stated, here, said).message.split(" was stated, but ")
    assert before == stated
    return after


@pytest.mark.parametrize(
    ("stated", "heard"),
    [
        ("H100", H100),
        ("H100 SXM", H100),
        ("h100-sxm", "NVIDIA H100 80GB HBM3"),
        ("H100", H100_PCIE),
        ("H100", "NVIDIA H100 NVL"),
        ("A100", A100),
        ("A100-80G", A100),
        ("A100 SXM", "NVIDIA A100-SXM4-40GB"),
        ("4090", RTX_4090),
        ("RTX 4090", RTX_4090),
        ("L4", L4),
        ("L40S", L40S),
        ("H200", "NVIDIA H200"),
        ("B300", "NVIDIA B300 SXM6 AC"),
    ],
)
def test_names_that_may_mean_one_card_agree(stated, heard):
    assert not contradict(stated, heard)
    assert contradiction(stated, (heard,), heard) is None


@pytest.mark.parametrize(
    ("stated", "heard"),
    [
        ("H100", L4),
        ("L4", L40S),
        ("L40S", L4),
        ("A10", "NVIDIA A10G"),
        ("H100 SXM", H100_PCIE),
        ("H100 NVL", H100),
        ("A100-40G", A100),
        ("H100", "NVIDIA H200"),
        ("4090", "NVIDIA GeForce RTX 5090"),
        ("B200", "NVIDIA GB200"),
    ],
)
def test_names_of_different_cards_contradict(stated, heard):
    assert against(stated, (heard,), "") == f"this machine has {heard}"
    assert against(stated, None, heard) == f"the server says {heard}"


def test_enough_of_them_must_be_there():
    assert against("H100x8", (H100,), "") == f"this machine has only 1 × {H100}"
    assert contradiction("H100x8", (H100,) * 8, "") is None
    assert contradiction("H100x2", (H100,) * 8, "") is None
    assert contradiction("H100", (L4, H100), "") is None
    assert against("H100", (L4, L4), "") == f"this machine has 2 × {L4}"


def test_without_any_gpu_every_nvidia_card_is_contradicted_and_no_other():
    assert against("H100", (), "") == "this machine has no NVIDIA GPU"
    for stated in ("MI300X", "M4 Max", "FooBar", ""):
        assert contradiction(stated, (), "") is None
        assert contradiction(stated, (L4,), "") is None


def test_what_can_not_be_known_contradicts_nothing():
    assert contradiction("H100", None, "") is None
    # These name no card.
    assert contradiction("H100", None, "cuda") is None
    assert contradiction("H100", None, "NVIDIA Something New") is None
    assert against("MI300X", None, L4) == f"the server says {L4}"


# ---------------------------------------------------------------- are there so many of them?


@pytest.mark.parametrize(
    ("engine", "details", "count", "by", "exact"),
    [
        ({"tp": "8"}, {}, 8, "tp 8", True),
        ({"tp": "4", "dp": "2", "pp": "1", "eager": "on"}, {}, 8, "tp 4 × dp 2", True),
        ({"pp": "2"}, {"tensor_parallel": "1"}, 2, "pp 2", True),
        # What was passed on in the engine's own words is told by the server alone.
        ({"tp": "2"}, {"tensor_parallel": "2", "data_parallel": "4"}, 8, "tp 2 × dp 4", True),
        ({"tp": "2"}, {"tensor_parallel": "4"}, 4, "tp 4", True),
        ({}, {"tensor_parallel": "8"}, 8, "tp 8", False),
        ({}, {"tensor_parallel": "1"}, 1, "tp 1", False),
        (
            {},
            {"tensor_parallel": "2", "pipeline_parallel": "1", "data_parallel": "1"},
            2,
            "tp 2",
            True,
        ),
    ],
)
def test_gpus_in_use_are_the_product_of_how_they_share_the_model(engine, details, count, by, exact):
    assert gpus_used(engine, details) == Use(count=count, by=by, exact=exact)


def test_without_any_word_of_it_nobody_knows_how_many_gpus_are_used():
    for nothing in ({}, {"eager": "on"}, {"tp": "auto"}, {"tp": "0"}, {"tp": ""}):
        assert gpus_used(nothing, {"device": "cuda"}) is None


def test_another_number_of_gpus_than_the_server_uses_is_doubted():
    eight, one = gpus_used({"tp": "8"}, {}), Use(count=1, by="tp 1", exact=True)
    found = contradiction("H100", None, "", eight)
    assert found.message == "1 × H100 was stated, but the server uses 8 GPUs (tp 8)"
    assert found.advice == "state --gpu H100x8"
    found = contradiction("8xh100 pcie", None, "", one)
    assert found.message == "8 × h100 pcie were stated, but the server uses 1 GPU (tp 1)"
    assert found.advice == "state --gpu 'h100 pcie'"
    # Counting takes no name of the book, and no NVIDIA GPU.
    for name in ("FooBar", "MI300X"):
        assert contradiction(name, (), "", eight).advice == f"state --gpu {name}x8"
    assert contradiction("H100x8", (H100,) * 8, H100, eight) is None
    assert contradiction("H100", (H100,) * 8, H100, one) is None
    assert contradiction("", None, "", eight) is None
    assert contradiction("H100x8", None, "", None) is None


def test_a_server_that_tells_only_some_of_it_may_use_more_gpus_but_not_fewer():
    four = gpus_used({}, {"tensor_parallel": "4"})
    assert contradiction("H100x8", None, "", four) is None
    assert contradiction("H100x2", None, "", four).advice == "state --gpu H100x4"


# ---------------------------------------------------------------- is it the one that was priced?


@pytest.mark.parametrize(
    ("stated", "heard", "card"),
    [
        ("H100", H100_PCIE, "H100 PCIe"),
        ("h100", "NVIDIA H100 NVL", "H100 NVL"),
        ("A100", "NVIDIA A100-SXM4-40GB", "A100 SXM 40GB"),
        ("A100 SXM", "NVIDIA A100-SXM4-40GB", "A100 SXM 40GB"),
        ("A100-80G", "NVIDIA A100 80GB PCIe", "A100 PCIe 80GB"),
    ],
)
def test_the_price_of_another_form_of_the_card_is_doubted(stated, heard, card):
    priced = price_of(stated, None).gpu
    for here, said, who in (((heard,), "", "the machine"), (None, heard, "the server")):
        found = contradiction(stated, here, said, None, priced)
        assert found.message == f"the price of {priced} was used, but {who} has {card}"
        assert found.advice == f"state --gpu '{card}'"
        assert parse_gpu(card) == (card, 1)
        # Without a listed price none is wrong, and the card in full has its own.
        assert contradiction(stated, here, said) is None
        assert contradiction(card, here, said, None, card) is None


def test_the_advice_has_the_count_and_can_be_typed():
    found = contradiction("H100x2", (H100_PCIE,) * 2, "", None, "H100 SXM")
    assert found.advice == "state --gpu 'H100 PCIe x2'" and parse_gpu("H100 PCIe x2") == ("H100 PCIe", 2)
    found = contradiction("H200", ("NVIDIA H200 NVL",), "", None, "H200 SXM")
    assert found.message == "the price of H200 SXM was used, but the machine has NVIDIA H200 NVL"
    assert found.advice == "state the price: --gpu-price USD"


def test_the_price_is_right_where_enough_of_its_cards_are_there():
    assert contradiction("H100", (H100_PCIE, H100), "", None, "H100 SXM") is None
    assert contradiction("H100x2", (H100_PCIE, H100), "", None, "H100 SXM") is not None
    for heard in (H100, "NVIDIA H100", "cuda"):
        assert contradiction("H100", None, heard, None, "H100 SXM") is None
    for stated in ("H200", "B300", "4090", "B200", "L40S"):
        driver = f"NVIDIA {stated}"
        assert contradiction(stated, (driver,), driver, None, find(stated).name) is None
