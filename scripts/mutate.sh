#!/usr/bin/env bash
# Mutation testing of decisions: mutate.sh PACKAGE [FILE...] copies the package (or those of its files, with the tests named
# after them and world_test.go) beside the module, apart from its long tests, and shows which changes of the code no test notices.
# Lists each survivor, and fails where fewer than 95 % of the covered mutants are killed.
set -euo pipefail
package=$1
shift
work=.mutate/$(basename "$package")
rm -rf "$work"
mkdir -p "$work"
if [ $# -eq 0 ]; then
	cp "$package"/*.go "$work"
else
	for file in "$@"; do
		cp "$package/$file.go" "$work"
		for test in "$package/${file}"_test.go; do [ -e "$test" ] && cp "$test" "$work"; done
	done
	cp "$package/world_test.go" "$work"
fi
[ -d "$package/testdata" ] && cp -r "$package/testdata" "$work"
go run github.com/go-gremlins/gremlins/cmd/gremlins@v0.5.0 unleash "./$work" --workers "${WORKERS:-2}" --timeout-coefficient 20 \
	--invert-logical --threshold-efficacy 95 | grep --line-buffered -v ' KILLED\|NOT COVERED'
