#!/usr/bin/env bash
# Install the wheel with pip as a stranger would: elsewhere, in a folder with a space and a non-ASCII letter, as an
# ordinary user; then use it. Run by `make try-wheel`.
set -euo pipefail
wheel=$(realpath "$1")
python=${2:-python3}
place=$(mktemp -d)
cp "$wheel" "$place/"
wheel="$place/$(basename "$wheel")"
mkdir -p "$place/a b/ü"

if [ "$(id -u)" = 0 ]; then
  # Root's own interpreter may lie where nobody else can read it; the system's may not.
  id chandlery-stranger >/dev/null 2>&1 || useradd --create-home chandlery-stranger
  chown -R chandlery-stranger "$place"
  as() { runuser -u chandlery-stranger -- env HOME=/home/chandlery-stranger CHANDLERY_HOME="$place/home" "$@"; }
  as "$python" -m venv --help >/dev/null 2>&1 || python=/usr/bin/python3
else
  as() { env CHANDLERY_HOME="$place/home" "$@"; }
fi

cd "$place/a b/ü"
trap 'as ./venv/bin/chandlery down >/dev/null 2>&1 || true; rm -rf "$place"' EXIT
as "$python" -m venv venv

echo "== the base: compiles, lists and shows"
as ./venv/bin/pip install -q "$wheel"
as ./venv/bin/chandlery list
as ./venv/bin/chandlery show train_model
as ./venv/bin/chandlery compile train_and_deploy -o train_and_deploy.yaml
size=$(du -sm venv | cut -f1)
echo "installed: $size MB"
[ "$size" -le 200 ]
if as ./venv/bin/chandlery up 2>error.txt; then
  echo "the platform started without its extra" >&2
  exit 1
fi
grep -q "pip install 'chandlery\[" error.txt || {
  echo "the missing extra is not named:" >&2
  cat error.txt >&2
  exit 1
}

echo "== everything: one component, and the demo"
as ./venv/bin/pip install -q "$wheel[all]"
as ./venv/bin/chandlery run commit_dataset -p source=train_and_deploy.yaml -p repo=documents
as ./venv/bin/chandlery demo
as ./venv/bin/chandlery status
