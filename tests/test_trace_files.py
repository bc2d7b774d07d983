"""Files of traces: each format seen from its columns, and what is said of those that can't be read."""

import gzip

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchsuite.errors import UsageError
from benchsuite.workload.trace_files import rows_of

S = 1_000_000_000
FILES = {
    "azure": "TIMESTAMP,ContextTokens,GeneratedTokens\n"
    "2023-11-16 18:15:46.6805901,374,44\n"
    "2023-11-16 18:15:46.6805900,20,1\n"
    "2023-11-16 18:15:50.9951690,396,109\n",
    "azure-2024": "TIMESTAMP,ContextTokens,GeneratedTokens\n"
    "2024-05-10 00:00:00.009930+00:00,374,44\n"
    "2024-05-10 00:00:00.009930+00:00,20,1\n"
    "2024-05-10 00:00:04.324510+00:00,396,109\n",
    "burstgpt": "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
    "5,ChatGPT,374,44,418,Conversation log\n"
    "45.5,GPT-4,20,0,20,API log\n",
    "mooncake": '{"timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": [7, 8]}\n'
    '{"timestamp": 3000, "input_length": 1024, "output_length": 6, "hash_ids": [7, 9]}\n',
    "lengths": '{"timestamp": 1.5, "prompt_tokens": 10, "output_tokens": 3}\n\n'
    '{"timestamp": 1.25, "prompt_tokens": 11, "output_tokens": 4}\n',
    "lengths-csv": "timestamp,input_length,output_length\n"
    "2024-01-01T00:00:01Z,10,3\n"
    "2024-01-01T00:00:01.25Z,11,4\n",
}
READ = {
    "azure": [(0, 20, 1), (100, 374, 44), (4_314_579_000, 396, 109)],
    "azure-2024": [(0, 374, 44), (0, 20, 1), (4_314_580_000, 396, 109)],
    "burstgpt": [(0, 374, 44), (40_500_000_000, 20, 1)],
    "mooncake": [(0, 600, 5), (3 * S, 1024, 6)],
    "lengths": [(0, 11, 4), (250_000_000, 10, 3)],
    "lengths-csv": [(0, 10, 3), (250_000_000, 11, 4)],
}


def written(folder, text, name="t.txt"):
    path = folder / name
    path.write_text(text)
    return path


def plain(rows):
    return [(row.at_ns, row.prompt_tokens, row.output_tokens) for row in rows]


@pytest.mark.parametrize("name", FILES)
def test_each_format_is_seen_from_its_columns_and_sorted_from_zero(tmp_path, name):
    path = written(tmp_path, FILES[name])
    rows, format, sha256 = rows_of(path)
    assert plain(rows) == READ[name] and format == name.split("-")[0]
    packed = tmp_path / "t.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    again, format_again, sha256_again = rows_of(packed)
    assert plain(again) == READ[name] and format_again == format and sha256_again != sha256


def test_a_fraction_may_stand_behind_a_comma(tmp_path):
    lines = ['"2026-01-01 09:00:00,250"', '"2026-01-01 09:00:01,123"']
    text = "timestamp,prompt_tokens,output_tokens\n" + "".join(f"{at},1,2\n" for at in lines)
    rows, _, _ = rows_of(written(tmp_path, text))
    assert plain(rows) == [(0, 1, 2), (873_000_000, 1, 2)]


def test_block_ids_stay_with_their_rows(tmp_path):
    rows, _, _ = rows_of(written(tmp_path, FILES["mooncake"]))
    assert [(row.blocks, row.block_tokens) for row in rows] == [((7, 8), 512), ((7, 9), 512)]
    assert rows[1:][0].blocks == (7, 9) and len(rows[:1]) == 1


def test_a_format_that_is_named_is_the_one_that_is_read(tmp_path):
    path = written(tmp_path, FILES["mooncake"])
    rows, format, _ = rows_of(path, "lengths")
    # Its times would be seconds then.
    assert format == "lengths" and rows[1].at_ns == 3000 * S and rows[1].blocks == ()
    with pytest.raises(
        UsageError, match="no trace format 'x'; there are: azure, burstgpt, mooncake, records"
    ):
        rows_of(path, "x")
    with pytest.raises(UsageError, match="has no column TIMESTAMP"):
        rows_of(path, "azure")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,1,x\n",
            "t.txt, line 2: 'x' isn't a n",
        ),
        (
            "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,-1,1\n",
            "line 2: '-1' isn't a number",
        ),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\nyesterday,1,1\n", "line 2: 'yesterday' isn't a time"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16,1\n", "line 2: not as many values as columns"),
        ("timestamp,prompt_tokens,output_tokens\nnan,1,1\n", "line 2: nan isn't a time"),
        ('{"timestamp": 0, "prompt_tokens": 1, "output_tokens": 1}\n[1]\n', "line 2: it isn't a JSON object"),
        ('{"timestamp": 0, "prompt_tokens": 1, "output_tokens": null}\n', "line 1: nothing isn't a number"),
        (
            '{"timestamp": 0, "input_length": 600, "output_length": 1, "hash_ids": [1]}\n',
            "has 2 blocks of 512",
        ),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n", "the trace t.txt has no rows"),
        ("", "the trace t.txt has no rows"),
        ('[\n{"timestamp": 0, "prompt_tokens": 1, "output_tokens": 1}\n]\n', "is one JSON array: write each"),
        (
            "timestamp,prompt_tokens,output_tokens\n1700000000000,1,1\n",
            "line 2: 1700000000000 is too large for a time in s; if it is in ms, divide it",
        ),
        (
            "a,b\n1,2\n",
            r"no known format has \(a, b\); rename them to timestamp, prompt_tokens, output_tokens",
        ),
    ],
)
def test_a_bad_row_is_one_line_with_file_and_place(tmp_path, text, said):
    with pytest.raises(UsageError, match=said) as refused:
        rows_of(written(tmp_path, text))
    assert "\n" not in str(refused.value) and str(tmp_path) not in str(refused.value)


def test_what_is_no_trace_at_all_is_told(tmp_path):
    (tmp_path / "b").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "g").write_bytes(gzip.compress(b"timestamp")[:-6])
    (tmp_path / "h").write_bytes(gzip.compress(b"timestamp")[:12] + b"\xff" * 20)
    (tmp_path / "p").write_bytes(b"PAR1 and nothing")
    pq.write_table(
        pa.table({"timestamp": [0.5, 0.25], "input_length": [1, 2], "output_length": [3, 4]}), tmp_path / "q"
    )
    for name, said in (
        ("b", "isn't UTF-8"),
        ("g", "isn't whole"),
        ("h", "isn't whole"),
        ("p", "Parquet"),
        ("no", "can't read the trace no"),
    ):
        with pytest.raises(UsageError, match=said):
            rows_of(tmp_path / name)
    assert plain(rows_of(tmp_path / "q")[0]) == [(0, 2, 4), (250_000_000, 1, 3)]
