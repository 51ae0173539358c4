// Package between holds the end-to-end test of the operator's commands among the tools that customers use beside them: the AWS CLI and
// Terraform with the cockroach provider read and write before, between and after a move, a new region, a revocation and a restoration, against
// "keyturn simulate".
//
// The AWS CLI's steps are always taken, those of Terraform where KEYTURN_TERRAFORM_CONFIG names a CLI configuration that has the provider
// cockroachdb/cockroach. `make e2e` runs it, or alone:
//
//	KEYTURN_E2E=1 go test ./scripts/e2e/between -v
package between
