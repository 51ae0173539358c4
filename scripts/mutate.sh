#!/usr/bin/env bash
# Mutation testing of decisions: mutate.sh PACKAGE [FILE... [-- FILE...]] copies the package, or those of its files, beside the
# module, and shows which changes of the code no test notices. Files after -- are needed to compile and are not mutated.
# With FILEs the tests that are copied are those named after them and those of TESTS, so that each run takes a second.
# Lists each survivor, how many mutants were killed and lived, and fails where fewer than 95 % of the covered ones are killed.
# To gremlins the conditions of a switch's cases are not covered: it does not change them.
set -euo pipefail
package=$1
shift
work=.mutate/$(basename "$package")
rm -rf "$work"
mkdir -p "$work"
if [ $# -eq 0 ]; then
	cp "$package"/*.go "$work"
else
	suffix=
	for file in "$@"; do
		if [ "$file" = -- ]; then
			suffix=_unchanged_test # what is named like a test is compiled and not mutated
			continue
		fi
		cp "$package/$file.go" "$work/$file$suffix.go"
		for test in "$package/${file}"_test.go; do [ -e "$test" ] && cp "$test" "$work"; done
	done
	for test in ${TESTS:-}; do cp "$package/${test}_test.go" "$work"; done
fi
[ -d "$package/testdata" ] && cp -r "$package/testdata" "$work"
printf 'unleash:\n  threshold:\n    efficacy: 95\n' >"$work.yaml" # gremlins takes the flag for a string, and ignores it
# Without optimization the package compiles in half the time; -trimpath lets the workers' copies share what is built of others.
export GOFLAGS="${GOFLAGS:-} -trimpath -vet=off -short '-gcflags=-N -l'"
go run github.com/go-gremlins/gremlins/cmd/gremlins@v0.5.0 unleash "./$work" --config "$work.yaml" --workers "${WORKERS:-2}" \
	--timeout-coefficient 5 --invert-logical | grep --line-buffered -v ' KILLED\|NOT COVERED'
