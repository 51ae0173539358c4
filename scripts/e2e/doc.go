// Package e2e holds the end-to-end tests: rotation's Lambda binary, built with the flags of the Makefile, runs as Lambda
// runs it, between moto_server (EventBridge, SQS, DynamoDB, S3, SNS, Secrets Manager) and the simulator (the CockroachDB
// Cloud API and AWS KMS). Everything the binary says to either passes a proxy that can kill the process or lose an answer
// at an exact step.
//
// `make e2e` runs them. Without KEYTURN_E2E=1 they are skipped.
package e2e
