"""Commands of the command line in the reference: their examples as code."""

from __future__ import annotations

import inspect
from typing import Any

import griffe

__all__ = ["CommandExamples"]


class CommandExamples(griffe.Extension):
    """Makes a block of code of the examples in the docstrings of commands."""

    def on_function(self, *, func: griffe.Function, **_: Any) -> None:
        """Rewrite the docstring of a command's function."""
        if func.path.startswith("efa_zoo.cli.") and func.name == "run" and func.docstring:
            text, found, examples = func.docstring.value.partition("Examples:\n")
            if found:
                code = inspect.cleandoc("\n" + examples)
                func.docstring.value = f"{text}\n```bash\n{code}\n```\n"
