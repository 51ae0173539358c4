// Package readme holds the end-to-end test of README: it walks the first 15 minutes as printed, on a fresh clone of the commit, and
// compares every line that is printed with what the simulated KMS and Cloud API say.
//
// `make e2e` runs it, or alone:
//
//	KEYTURN_E2E=1 go test ./scripts/e2e/readme -v
//
// It needs Git, Go and the AWS CLI, and the port that README names.
package readme
