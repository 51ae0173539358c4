// Package kmsmodel holds the end-to-end test of the simulated AWS KMS against AWS's own description of KMS: botocore's API model,
// which comes with the AWS CLI. For every operation that is simulated, the tests leave out and break every parameter, bring
// keys of every kind into play, and compare what is refused, and how, with the model.
//
// `make e2e` runs it, or alone:
//
//	KEYTURN_E2E=1 go test ./scripts/e2e/kmsmodel -v
//
// It needs botocore, of the AWS CLI or of Python.
package kmsmodel
