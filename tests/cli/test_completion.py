"""`efa-zoo completion`: the scripts complete in the shells they are for."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from commands import succeed

from efa_zoo.cli import COMMANDS

_BASH = """\
source completion.bash
COMP_WORDS=({words} "{last}")
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_efa_zoo_or_files
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def shell(name: str, *arguments: str) -> str:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    result = subprocess.run([name, *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == 0
    assert result.stderr == ""
    return result.stdout


@pytest.fixture(params=["bash", "zsh", "fish"])
def script(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Path:
    path = Path(f"completion.{request.param}")
    path.write_text(succeed(capsys, "completion", request.param), encoding="utf-8")
    return path


def test_the_script_is_valid_and_says_how_to_install_it(script: Path) -> None:
    name = script.suffix[1:]
    assert f"efa-zoo completion {name}" in script.read_text(encoding="utf-8").splitlines()[1]
    shell(name, "-n", str(script))


def test_bash_completes_commands_options_and_choices(capsys: pytest.CaptureFixture[str]) -> None:
    Path("completion.bash").write_text(succeed(capsys, "completion", "bash"), encoding="utf-8")

    def complete(words: str, last: str) -> list[str]:
        return shell("bash", "-c", _BASH.format(words=words, last=last)).split()

    first_words = {command.partition(" ")[0] for command in COMMANDS}
    assert set(complete("efa-zoo", "")) == first_words | {"-h", "--help"}
    assert complete("efa-zoo", "pred") == ["predict"]
    assert complete("efa-zoo predict toy", "--js") == ["--json"]
    assert complete("efa-zoo predict toy --dtype", "") == ["float32", "float64"]
    assert "build" in complete("efa-zoo data", "")
    assert complete("efa-zoo predict toy", "some") == []  # bash then offers files


def test_fish_completes_commands_and_files(capsys: pytest.CaptureFixture[str]) -> None:
    Path("completion.fish").write_text(succeed(capsys, "completion", "fish"), encoding="utf-8")
    Path("some.xyz").touch()

    def complete(line: str) -> list[str]:
        out = shell("fish", "-c", f"source completion.fish; complete -C '{line}'")
        return [found.partition("\t")[0] for found in out.splitlines()]

    assert complete("efa-zoo pred") == ["predict"]
    assert complete("efa-zoo predict toy --js") == ["--json"]
    assert complete("efa-zoo predict toy so") == ["some.xyz"]
