"""The packages here aren't ours: `tests/test_third_party.py` installs them and runs their tests apart."""

collect_ignore_glob = ["*/*"]
