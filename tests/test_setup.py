"""What `make setup` installs, with programs in place of Python and uv that only write down how they were called."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has PyTorch with and without CUDA")

PYTHON = """#!/bin/sh
mkdir -p .venv/bin
printf '#!/bin/sh\\necho "$*" >> calls\\ncase "$*" in *unreachable*) exit 2; esac\\n' > .venv/bin/uv
cp .venv/bin/uv .venv/bin/python
chmod +x .venv/bin/uv .venv/bin/python
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files that the set-up reads."""
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(PROJECT / name, tmp_path)
    (tmp_path / "python").write_text(PYTHON)
    (tmp_path / "python").chmod(0o755)
    return tmp_path


def set_up(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """What `make setup` does, also where `make test` runs these tests, whose own variables make would hand on."""
    command = ["make", "setup", f"PYTHON={folder / 'python'}", *options]
    handed_on = ("MAKE", "MFLAGS", "CPU", "TORCH_INDEX")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(handed_on)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def locked(lock: Path) -> dict[str, str]:
    """The packages of a lock, each with the version."""
    heads = [line.split()[0] for line in lock.read_text().splitlines() if line[:1].isalnum()]
    return dict(head.split("==") for head in heads)


def test_the_set_up_installs_the_lock_with_its_hashes_and_says_how_large_it_is(folder: Path) -> None:
    shown = set_up(folder).stdout
    assert "7 GB" in shown.splitlines()[0]
    assert "--require-hashes -r requirements.lock" in (folder / "calls").read_text()


def test_without_cuda_pytorch_comes_from_its_own_index_and_all_else_from_the_lock(folder: Path) -> None:
    shown = set_up(folder, "CPU=1", "TORCH_INDEX=https://example.org/cpu").stdout
    calls, whole = (folder / "calls").read_text(), locked(folder / "requirements.lock")
    left_out = whole.keys() - locked(folder / ".venv" / "cpu.lock").keys()
    both = f"torch=={whole['torch']} torchvision=={whole['torchvision']}"
    assert "2 GB" in shown.splitlines()[0]
    assert f"--no-deps --default-index https://example.org/cpu {both}\n" in calls
    assert "--require-hashes -r .venv/cpu.lock" in calls
    assert {"torch", "torchvision", "triton", "nvidia-cublas"} <= left_out
    assert {name.partition("-")[0] for name in left_out} == {"torch", "torchvision", "triton", "nvidia", "cuda"}


def test_the_choice_is_remembered_when_the_lock_changes(folder: Path) -> None:
    set_up(folder, "CPU=1")
    assert "--torch-backend cpu torch==" in (folder / "calls").read_text()
    (folder / ".venv" / ".complete").unlink()
    (folder / "calls").unlink()
    set_up(folder)
    assert "-r .venv/cpu.lock" in (folder / "calls").read_text()


def test_an_environment_that_has_cuda_already_is_told_how_to_change_over(folder: Path) -> None:
    set_up(folder)
    assert "make clean setup CPU=1" in set_up(folder, "CPU=1").stdout
    assert "make clean" not in set_up(folder).stdout


def test_an_index_that_cannot_be_reached_is_named_before_the_rest_is_downloaded(folder: Path) -> None:
    failed = set_up(folder, "CPU=1", "TORCH_INDEX=https://unreachable.example.org")
    assert failed.returncode != 0
    assert "from https://unreachable.example.org: give another one (TORCH_INDEX=URL)" in failed.stderr
    assert "--require-hashes" not in (folder / "calls").read_text()
