"""What a repository, or a CI without one, says of its commit, branch and history."""

import subprocess

import pytest

from benchsuite.errors import UsageError
from benchsuite.repository import branch, commit, history


def git(folder, *words):
    identity = ("-c", "user.name=n", "-c", "user.email=e@e", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "code"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    for name in ("one", "two"):
        git(folder, "commit", "-q", "--allow-empty", "-m", name)
    return folder


def test_a_repository_says_its_commit_branch_and_history(repository):
    whole = git(repository, "rev-parse", "HEAD")
    assert commit(repository, {"GITHUB_SHA": "f" * 40}) == whole[:12]
    assert branch(repository, {}) == "main"
    assert history(repository) == (git(repository, "rev-parse", "HEAD~1"), whole)


def test_a_commit_checked_out_alone_has_the_branch_that_the_ci_says(repository):
    git(repository, "checkout", "-q", "--detach")
    assert branch(repository, {"CI_COMMIT_REF_NAME": "topic"}) == "topic"
    with pytest.raises(UsageError, match="no branch is checked out"):
        branch(repository, {})


def test_without_a_repository_a_ci_says_the_commit(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    folder = tmp_path / "empty"
    folder.mkdir()
    assert commit(folder, {"CI_COMMIT_SHA": "0123456789abcdef"}) == "0123456789ab"
    with pytest.raises(UsageError, match="name it yourself"):
        commit(folder, {})
    with pytest.raises(UsageError, match="--over time"):
        history(folder)
