#!/usr/bin/env bash
# lines.sh [COMMIT]   the lines of Go, without tests, of the command line and of the CDK app, by package: now, or at a commit
set -euo pipefail
cd "$(git rev-parse --show-toplevel)"
read_tree() { git ls-tree -r --name-only "$1" -- functions/keyturn infra/aws | grep '\.go$' | grep -v '_test\.go$'; }
commit=${1:-HEAD}
while read -r file; do
  printf '%s %s\n' "$(dirname "$file")" "$(git show "$commit:$file" | wc -l)"
done < <(read_tree "$commit") | awk '{lines[$1] += $2; all += $2} END {for (p in lines) printf "%6d %s\n", lines[p], p; printf "%6d total\n", all}' | sort -k2
