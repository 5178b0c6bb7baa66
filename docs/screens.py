"""Look at pages as a browser shows them, on a telephone and on a desk: what is cut, and pictures.

    python -m mkdocs build --site-dir /tmp/site
    python docs/screens.py /tmp/site --pictures /tmp/screens

Needs Playwright (extra `screens`) and a Chromium on the path; nothing is loaded from anywhere.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

#: Widths in pixels.
WIDTHS = (390, 1280)

#: Milliseconds that a page may take, on a machine that does other things besides.
_PATIENCE = 180_000

#: What is wider than the page, and tables, code, equations and pictures that end beyond what shows
#: them. Those that a reader can move sideways are not cut on a telephone, but they are on a desk.
_CUT = """
desk => {
  const found = [], page = document.documentElement;
  if (page.scrollWidth > page.clientWidth)
    found.push(`the page is ${page.scrollWidth} px wide`);
  for (const inner of document.querySelectorAll("article :is(table, pre, .equation, img, svg)")) {
    const box = inner.getBoundingClientRect();
    if (!box.width || inner.closest("[hidden]")) continue;
    const words = () => `${inner.tagName.toLowerCase()} ` +
      JSON.stringify((inner.innerText || inner.alt || "").trim().slice(0, 60));
    if (desk && inner.matches("pre, .equation")) {
      const code = inner.querySelector("code") || inner;
      if (code.scrollWidth > code.clientWidth + 1)
        found.push(`${words()} has ${code.scrollWidth} px, shown are ${code.clientWidth}`);
    }
    for (let outer = inner.parentElement; outer && outer !== page; outer = outer.parentElement) {
      const moves = getComputedStyle(outer).overflowX, edge = outer.getBoundingClientRect().right;
      if (moves === "visible" || box.right <= edge + 1) continue;
      if (desk || moves === "hidden" || moves === "clip")
        found.push(`${words()} is cut by ${Math.round(box.right - edge)} px`);
      break;
    }
  }
  return found;
}
"""


def browser_path() -> str | None:
    """Find a Chromium on this machine."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


def cut(
    pages: Sequence[Path], pictures: Path | None = None, widths: Sequence[int] = WIDTHS
) -> Iterator[str]:
    """Open pages and say what does not fit.

    Args:
        pages: files of HTML; those of a site lie in folders.
        pictures: folder for a picture of each page at each width; None takes none.
        widths: of the window in pixels.

    Yields:
        What is cut, with page and width.
    """
    with sync_playwright() as playwright:
        browser: Browser = playwright.chromium.launch(
            executable_path=browser_path(), args=["--no-sandbox", "--disable-gpu"]
        )
        tab = browser.new_page()
        tab.set_default_timeout(_PATIENCE)
        for page in pages:
            tab.goto(page.resolve().as_uri())
            name = "_".join(page.parent.parts[-2:]) if page.stem == "index" else page.stem
            for width in widths:
                tab.set_viewport_size({"width": width, "height": 900})
                for problem in tab.evaluate(_CUT, width > 1000):
                    yield f"{page.parent.name}/{page.name} at {width} px: {problem}"
                if pictures is not None:
                    pictures.mkdir(parents=True, exist_ok=True)
                    tab.screenshot(path=pictures / f"{name}_{width}.png", full_page=True)
        browser.close()


def main() -> None:
    """Print what is cut, and take pictures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("site", type=Path, help="folder of the built site, or one page")
    parser.add_argument("--pictures", type=Path, help="folder for pictures")
    options = parser.parse_args()
    pages = [options.site] if options.site.is_file() else sorted(options.site.rglob("*.html"))
    for problem in cut(pages, options.pictures):
        print(problem, flush=True)


if __name__ == "__main__":
    main()
