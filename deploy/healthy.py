"""Exit with 0 if an address answers with 2xx, else with 1: for images that have no curl."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request

SECONDS = 4


def main(url: str) -> str | None:
    """None if it does, else why not. A proxy that the environment names is not asked."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        direct.open(url, timeout=SECONDS).close()
    except urllib.error.HTTPError as error:
        return f"{error.code}: {error.read(1000).decode(errors='replace')}"
    except OSError as error:
        return f"{url} does not answer: {error}"
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
