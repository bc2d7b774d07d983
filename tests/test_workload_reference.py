"""The reference of the language names every key and every shipped workload."""

import re
from pathlib import Path

from benchsuite.workload.load import shipped
from benchsuite.workload.schema import FIELDS, label

REFERENCE = (Path(__file__).parent.parent / "workloads" / "README.md").read_text(encoding="utf-8")


def test_every_key_stands_in_the_reference_and_no_other():
    keys = set(re.findall(r"`((?:\[\w+\] )?\w+)`", "".join(re.findall(r"^\| (`.*?) \|", REFERENCE, re.M))))
    known = {label(key) for key in FIELDS if key != "check"}
    workloads = {name.partition("@")[0] for name in shipped()}
    assert known - keys == set()
    assert {key for key in keys if key.startswith("[")} - known == set()
    assert "`[check]`" in REFERENCE
    assert {name for name in workloads if f"`{name}`" not in REFERENCE} == set()
