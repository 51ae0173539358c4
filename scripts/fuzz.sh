#!/usr/bin/env bash
# fuzz.sh TIME: run every fuzz target for TIME, one after the other.
set -euo pipefail
go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./... | while read -r pkg; do
  { go test -list '^Fuzz' "$pkg" </dev/null | grep '^Fuzz' || true; } | while read -r target; do
    echo "$target  $pkg"
    go test -run '^$' -fuzz "^$target\$" -fuzztime "$1" "$pkg" </dev/null
  done
done
