#!/usr/bin/env bash
# Mutation testing of decisions: mutate.sh PACKAGE [FILE... [-- FILE...]] shows which changes of the package's code no test notices:
# each survivor, and how many were killed and lived. It fails where no more than 95 % of the covered ones are killed.
# With FILEs, they are copied beside the module with the tests named after them and those of TESTS, so that each run takes seconds;
# files after -- are needed to compile and are not mutated: all others of the package, without their tests, if -- comes last.
# gremlins itself works on copies, too.
# A package with others beneath it is copied, too: gremlins goes down into them.
# A mutant whose tests take TIMEOUT_COEFFICIENT times as long as the coverage run is neither killed nor alive: read each, and give
# more on a busy machine. WORKERS is how many run at a time.
# To gremlins the conditions of a switch's cases are not covered: it does not change them.
set -euo pipefail
package=$1
shift
target=$package
mkdir -p .mutate
if [ $# -eq 0 ] && [ -n "$(find "$package" -mindepth 2 -name '*.go')" ]; then
	TESTS=
	for file in "$package"/*.go; do
		file=$(basename "$file" .go)
		case $file in *_test) TESTS="$TESTS ${file%_test}" ;; *) set -- "$@" "$file" ;; esac
	done
fi
if [ $# -gt 0 ]; then
	target=.mutate/$(basename "$package")
	rm -rf "$target"
	mkdir "$target"
	suffix=
	for file in "$@"; do
		if [ "$file" = -- ]; then
			suffix=_unchanged_test # what is named like a test is compiled and not mutated
			continue
		fi
		cp "$package/$file.go" "$target/$file$suffix.go"
		for test in "$package/${file}"_test.go; do [ -e "$test" ] && cp "$test" "$target"; done
	done
	if [ "$file" = -- ]; then
		for file in "$package"/*.go; do
			file=$(basename "$file" .go)
			case $file in *_test) ;; *) [ -e "$target/$file.go" ] || cp "$package/$file.go" "$target/$file$suffix.go" ;; esac
		done
	fi
	for test in ${TESTS:-}; do cp "$package/${test}_test.go" "$target"; done
	# Tests of the package from outside import the copy.
	sed -i "s#\"$(go list -m)/$package\"#\"$(go list -m)/$target\"#" "$target"/*_test.go
	[ -d "$package/testdata" ] && cp -r "$package/testdata" "$target"
fi
printf 'unleash:\n  threshold:\n    efficacy: 95\n' >.mutate/gremlins.yaml # gremlins takes the flag for a string, and ignores it
# go test ends with 1 where the tests fail and where nothing compiles. gremlins takes 2 for the latter: without that, a mutant that
# does not compile would count as killed.
mkdir -p .mutate/bin
GOBIN=$PWD/.mutate/bin go install github.com/go-gremlins/gremlins/cmd/gremlins@v0.5.0
cat >.mutate/bin/go <<EOF
#!/usr/bin/env bash
output=\$("$(command -v go)" "\$@" 2>&1)
code=\$?
echo "\$output"
case \$output in *'[build failed]'* | *'[setup failed]'*) code=2 ;; esac
exit \$code
EOF
chmod +x .mutate/bin/go
# Without optimization a package compiles in half the time, without symbols it links in half; -trimpath lets the workers' copies share
# what is built of others. A result from the cache says nothing about how long the tests take, by which mutants time out: -count=1.
export GOFLAGS="${GOFLAGS:-} -trimpath -vet=off -short -count=1 '-gcflags=-N -l' '-ldflags=-s -w'"
echo "mutations of $package: ${*:-all files}"
PATH="$PWD/.mutate/bin:$PATH" gremlins unleash "./$target" --config .mutate/gremlins.yaml --workers "${WORKERS:-2}" \
	--timeout-coefficient "${TIMEOUT_COEFFICIENT:-20}" --invert-logical | grep --line-buffered -v ' KILLED\|NOT COVERED'
