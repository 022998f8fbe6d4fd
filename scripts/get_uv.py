"""Put uv into a folder with nothing but Python: `python3 scripts/get_uv.py FOLDER` makes FOLDER/bin/uv.

Debian's python3 comes without pip and venv, so the wheel is fetched and unpacked here: the index that pip is
configured for, or the public one, its checksum verified.
"""

from __future__ import annotations

import hashlib
import io
import os
import platform
import re
import stat
import sys
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path

VERSION = "0.13.8"
INDEX = "https://pypi.org/simple"  # the public index, unless the environment names another
TIMEOUT = 60  # seconds


def wheel_pattern() -> re.Pattern[str]:
    """Return what this machine's wheel file is called."""
    machine = {"amd64": "x86_64", "aarch64": "aarch64", "arm64": "arm64"}.get(
        platform.machine(), platform.machine()
    )
    if sys.platform == "darwin":
        tag = rf"macosx_\d+_\d+_{machine}"
    elif sys.platform == "linux":
        libc = "musllinux_1_1" if "musl" in (platform.libc_ver()[0] or "musl") else r"manylinux[^-]*"
        tag = rf"{libc}_{machine}[^-]*"
    else:
        sys.exit(f"error: no uv for {sys.platform}\ninstall uv yourself, then run make again")
    return re.compile(rf"uv-{re.escape(VERSION)}-py3-none-{tag}\.whl$")


def main(folder: Path) -> None:
    """Fetch the wheel and unpack its program."""
    index = os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("PIP_INDEX_URL") or INDEX
    page_url = f"{index.rstrip('/')}/uv/"
    try:
        with urllib.request.urlopen(page_url, timeout=TIMEOUT) as answer:
            page = answer.read().decode()
    except OSError as error:
        sys.exit(f"error: cannot reach {page_url}: {error}\ninstall uv yourself, then run make again")
    pattern = wheel_pattern()
    for link in re.findall(r'href="([^"]+)"', page):
        url, _, digest = urllib.parse.urljoin(page_url, link.replace("&amp;", "&")).partition("#sha256=")
        if pattern.search(urllib.parse.urlsplit(url).path):
            break
    else:
        sys.exit(
            f"error: {page_url} has no uv {VERSION} for this machine\ninstall uv yourself, then run make again"
        )
    with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
        data = answer.read()
    if digest and hashlib.sha256(data).hexdigest() != digest:
        sys.exit(f"error: {url} does not have the checksum of the index\ntry again, or install uv yourself")
    target = folder / "bin" / "uv"
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(io.BytesIO(data)) as wheel:
        name = next(n for n in wheel.namelist() if n.endswith("/scripts/uv"))
        partial = target.with_suffix(".partial")
        partial.write_bytes(wheel.read(name))
    partial.chmod(partial.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    partial.replace(target)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
