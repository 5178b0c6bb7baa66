"""`efa-zoo completion`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from tyro.conf import Positional, arg

from efa_zoo.cli._common import print_
from efa_zoo.cli._dispatch import completion_script

Shell: TypeAlias = Literal["bash", "zsh", "fish"]

#: How to switch completion on for good.
_INSTALL: Mapping[Shell, str] = {
    "bash": "echo 'eval \"$(efa-zoo completion bash)\"' >> ~/.bashrc",
    "zsh": "efa-zoo completion zsh > ~/.zfunc/_efa-zoo  # a folder in $fpath, before compinit",
    "fish": "efa-zoo completion fish > ~/.config/fish/completions/efa-zoo.fish",
}

# tyro's scripts know commands and options. Where neither fits, they offer nothing; files help most.
_FILES_TOO: Mapping[Shell, str] = {
    "bash": """
_efa_zoo_or_files() {
  _tyro_efa_zoo
  [[ ${#COMPREPLY[@]} -eq 1 && -z ${COMPREPLY[0]} ]] && COMPREPLY=()
  return 0
}
complete -o default -F _efa_zoo_or_files efa-zoo
""",
    "zsh": """
(( CURRENT == 2 )) || [[ ${words[CURRENT]} == -* ]] || _files
""",
    "fish": """
complete --command efa-zoo --condition 'test (count (commandline -opc)) -gt 1' --force-files
""",
}


def run(
    shell: Annotated[Positional[Shell], arg(metavar="SHELL", help="bash, zsh or fish")],
    /,
) -> None:
    """Print a script that completes commands, options and files in a shell.

    Examples:
      eval "$(efa-zoo completion bash)"
      efa-zoo completion zsh > ~/.zfunc/_efa-zoo
      efa-zoo completion fish > ~/.config/fish/completions/efa-zoo.fish
    """
    first, newline, rest = completion_script(shell).partition("\n")
    hint = f"# To switch this on for good: {_INSTALL[shell]}"
    print_(f"{first}{newline}{hint}\n{rest.rstrip()}\n{_FILES_TOO[shell].rstrip()}")
