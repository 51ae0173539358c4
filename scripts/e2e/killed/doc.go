// Package killed holds the end-to-end test of keyturn on one machine: the keyturn program, which is killed again and again while
// it follows rotations through or moves a fleet to another key, with "keyturn simulate" behind a reverse proxy that loses, cuts, replaces and delays answers and
// serves stale ones. It needs Go only.
//
// `make e2e` runs it, or alone:
//
//	KEYTURN_E2E=1 go test ./scripts/e2e/killed -v [-seed N] [-worlds N] [-kills N]
package killed
