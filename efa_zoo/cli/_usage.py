"""One line for a wrong use of a command, made of the box of many that the parser prints."""

from __future__ import annotations

import re

__all__ = ["usage_error"]


def usage_error(box: str, prog: str) -> str:
    """Say in one line what is wrong with a command's arguments.

    Args:
        box: what tyro writes to standard error: a frame with a title, and paragraphs between rules.
        prog: the command, for the hint to its help.

    Returns:
        The sentence, with the closest option where there is one, or else a hint to the help. Of a
        box of an unknown kind it is the first paragraph.
    """
    paragraphs = _paragraphs(box)
    first, rest = paragraphs[0], paragraphs[1:]
    text = " ".join(line.strip() for line in first)
    help_ = f"see {prog} --help"

    if match := re.match(r"Unrecognized options: ([^,]*)", text):
        given = match[1]
        if not given.startswith("-"):
            return f"unexpected argument {given!r} ({help_})"
        similar = [line.split()[0] for part in rest for line in part if _is_option(line)]
        hint = f"did you mean {similar[0]}?" if similar else help_
        return f"unknown option {given!r} ({hint})"

    if text.startswith("Missing from"):
        # Names are indented by four spaces, their descriptions by eight.
        names = [line.strip() for line in first if re.match(r" {4}\S", line)]
        return f"missing {', '.join(names)} ({help_})"

    if match := re.match(r"Missing value for argument '(.*)'\. Expected (\d+)", text):
        return f"{match[1]}: got too few values, expected {match[2]} ({help_})"

    if match := re.match(r"invalid choice (.*) for argument '(.*)'\. Expected one of (.*)\.", text):
        choices = sorted(set(re.findall(r"'([^']*)'", match[3])) - {"None"})
        return f"{match[2]}: got {match[1]}, expected {' or '.join(choices)} ({help_})"

    if match := re.match(r"Error parsing ([^:]+): (.*)", text):
        # The word before the description is what stands for the value, such as INT.
        shown = [line.strip() for part in rest[:1] for line in part if _is_option(line)]
        expected = shown[0].partition(" ")[2] if shown else ""
        values = re.findall(r"'([^']*)'", match[2].partition("Got errors")[0])
        if values and expected:
            return f"{match[1]}: got {' '.join(values)!r}, expected {expected} ({help_})"

    return f"{text or 'wrong arguments'} ({help_})"


def _is_option(line: str) -> bool:
    return re.match(r" {4}-", line) is not None


def _paragraphs(box: str) -> list[list[str]]:
    """The lines between the rules of a box, without its frame and colours."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", box)
    # The first line is the title. Of the others, two characters at either end are the frame, which
    # is blank where the output cannot show its lines.
    paragraphs: list[list[str]] = [[]]
    for line in plain.splitlines()[1:]:
        content = line[2:].rstrip("│ ")
        if content.strip("─-╯"):
            paragraphs[-1].append(content)
        elif content:
            paragraphs.append([])
    return [paragraph for paragraph in paragraphs if paragraph] or [[]]
