"""Write the generated pages, or with `--check` say which are out of date (exit status 1)."""

from __future__ import annotations

import argparse
import sys

from penstock.tools.docs import pages, repository_root


def main() -> int:
    """Write every page whose text changed; with --check write nothing."""
    parser = argparse.ArgumentParser(prog="./dev docs", description="Write the generated pages of docs/.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 if a page is out of date")
    check = parser.parse_args().check
    root = repository_root()
    stale = 0
    for page in pages():
        path, text = root / page.path, page.text(root)
        if path.exists() and path.read_text() == text:
            continue
        stale += 1
        print(f"{page.path}: {'out of date' if check else 'written'}")
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    if stale == 0:
        print("every generated page is up to date")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
