import json

import pytest

from benchsuite.cli import main
from benchsuite.money.gpus import book
from benchsuite.report.gpus import gpu_table


def test_the_price_book_as_a_table(capsys):
    assert main(["cost", "gpus"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {row.name: next(line for line in lines if line.startswith(f" {row.name} ")) for row in book()}
    words = rows["H100 SXM"].split()
    assert words == [
        *("H100", "SXM", "3.99", "RunPod", "secure", "2026-11-09"),
        *("80", "3.35", "989.4", "1,978.9", "700"),
    ]
    assert rows["L4"].split()[:4] == ["L4", "unknown", "–", "–"]
    assert "--gpu-price" in lines[-1]


def test_a_narrow_screen_breaks_no_date():
    lines = gpu_table(book(), width=80).splitlines()
    assert max(map(len, lines)) <= 80 and len(lines) == len(book()) + 2
    assert "BF16" in lines[0] and "TDP" not in lines[0]


@pytest.mark.parametrize("words", [["h100"], ["H100", "SXM"], ["H100x8"]])
def test_one_gpu_shows_every_price_and_which_is_used(words, capsys):
    assert main(["cost", "gpus", *words]) == 0
    shown = capsys.readouterr().out
    rows = [line.split() for line in shown.splitlines() if line.strip().startswith("$")]
    (used,) = [row for row in rows if row[-1] == "used"]
    assert used[:4] == ["$3.99", "RunPod", "secure", "2026-11-09"] and len(rows) == 9
    assert shown.startswith("H100 SXM (NVIDIA), also H100")
    assert "InferenceX" in shown and "FP8 1,978.9 TFLOP/s" in shown


def test_a_price_of_unknown_age_is_shown_and_not_used(capsys):
    assert main(["cost", "gpus", "L4"]) == 0
    shown = capsys.readouterr().out
    assert "$0.8048  AWS g6.xlarge      unknown" in shown and " used" not in shown
    assert "No dated price is known" in shown


def test_the_price_book_as_json(capsys):
    assert main(["cost", "gpus", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == [gpu.name for gpu in book()]
    assert main(["cost", "gpus", "4090", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["name"] == "RTX 4090" and row["offers"][0]["usd_per_gpu_hour"] == 0.74


def test_an_unknown_gpu_gets_a_known_one_of_the_same_model(capsys):
    assert main(["cost", "gpus", "H100-96GB"]) == 2
    assert "did you mean H100 SXM?" in capsys.readouterr().err
    for other in ("L40", "H20", "FooBar"):
        assert main(["cost", "gpus", other]) == 2
        assert "`benchsuite cost gpus` lists" in capsys.readouterr().err


@pytest.mark.parametrize("price", ["-1", "-0.01", "nan", "inf", "cheap", ""])
def test_a_price_that_is_none_is_refused(price, capsys):
    assert main(["run", "--gpu", "H100", f"--gpu-price={price}"]) == 2
    assert "isn't a price in US dollars" in capsys.readouterr().err


def test_that_a_price_is_unknown_is_heard_before_the_run(monkeypatch, tmp_path, capsys):
    heard = []

    def measured(*_args, **_named):
        heard.append(capsys.readouterr().err)
        raise KeyboardInterrupt

    monkeypatch.setattr("benchsuite.run.run", measured)
    for words in (["--gpu", "FooBar"], ["--gpu", "H100"], ["--gpu", "FooBar", "--gpu-price", "2"]):
        assert main(["run", *words, "--store", str(tmp_path)]) == 130
        capsys.readouterr()
    unknown = "the price of FooBar isn't known, so $ is unknown → --gpu-price USD"
    assert [unknown in each for each in heard] == [True, False, False]
    for refused in ("H100x0", "H100,H100"):
        assert main(["run", "--gpu", refused, "--store", str(tmp_path)]) == 2
        assert "H100x2" in capsys.readouterr().err
    assert len(heard) == 3
