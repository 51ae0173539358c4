#!/usr/bin/env bash
# need.sh go 1.26         the Go toolchain is there and new enough
# need.sh node 20         likewise Node
# need.sh PROGRAM HOW …   each program is there; else one line that says how to get it
set -euo pipefail

# older A B: version A is older than version B
older() { [ "$1" != "$2" ] && [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -1)" = "$1" ]; }

case $1 in
go)
  command -v go >/dev/null || { echo "keyturn needs Go $2 or later; there is none on this machine: https://go.dev/dl" >&2; exit 1; }
  have=$(go env GOVERSION | sed 's/^go//; s/[ -].*//')
  ! older "$have" "$2" || { echo "keyturn needs Go $2 or later; this machine has $have: https://go.dev/dl" >&2; exit 1; }
  ;;
node)
  command -v node >/dev/null || { echo "the tests need Node $2 or later (for the CDK); there is none on this machine: https://nodejs.org" >&2; exit 1; }
  have=$(node --version | sed 's/^v//')
  ! older "$have" "$2" || { echo "the tests need Node $2 or later (for the CDK); this machine has $have: https://nodejs.org" >&2; exit 1; }
  ;;
*)
  missing=0
  while [ $# -gt 0 ]; do
    command -v "$1" >/dev/null || { echo "the end-to-end tests need $1: $2" >&2; missing=1; }
    shift 2
  done
  exit $missing
  ;;
esac
