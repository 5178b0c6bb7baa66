r"""Mathematics in Markdown as MathML, which browsers draw by themselves.

`$…$` within a line, and fenced blocks of the language `math`, hold LaTeX. They are translated
while the site is built, so that its pages load no JavaScript and no fonts for them.
"""

from __future__ import annotations

import re

from latex2mathml.converter import convert
from markdown import Markdown
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor

__all__ = ["MathExtension", "fence", "makeExtension"]

#: A dollar sign that a backslash does not escape, and text without blanks at its ends.
_INLINE = r"(?<![\\$])\$(?!\s|\$)([^$\n]+?)(?<![\s\\])\$(?!\d)"


_BOLD = re.compile(r'<mi mathvariant="bold">([A-Za-z])</mi>')


def fence(
    source: str, language: str, css_class: str, options: dict[str, str], md: Markdown, **_: object
) -> str:
    """Format a fenced block, as `pymdownx.superfences` wants it."""
    return f'<div class="{css_class}">{_mathml(source, "block")}</div>'


def _mathml(source: str, display: str = "inline") -> str:
    """Browsers know bold letters by their own code points only."""
    return _BOLD.sub(lambda match: f"<mi>{_bold(match[1])}</mi>", convert(source, display=display))


def _bold(letter: str) -> str:
    first = ("A", 0x1D400) if letter.isupper() else ("a", 0x1D41A)
    return chr(first[1] + ord(letter) - ord(first[0]))


class _Inline(InlineProcessor):
    def handleMatch(self, m: re.Match[str], data: str) -> tuple[str, int, int]:
        return self.md.htmlStash.store(_mathml(m[1])), m.start(0), m.end(0)


class MathExtension(Extension):
    """Mathematics within lines; blocks are `fence`'s."""

    def extendMarkdown(self, md: Markdown) -> None:
        """Look for mathematics after code, whose priority is 190, and before everything else."""
        md.inlinePatterns.register(_Inline(_INLINE, md), "mathml", 185)


def makeExtension(**settings: object) -> MathExtension:
    """The entry point that Python-Markdown looks for."""
    return MathExtension(**settings)
