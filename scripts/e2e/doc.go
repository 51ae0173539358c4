// Package e2e holds the end-to-end tests: the Lambda binaries of rotation, alerting and notify, built with the flags of the
// Makefile, run as Lambda runs them, between moto_server (EventBridge, SQS, DynamoDB, S3, SNS, IAM, Secrets Manager), the
// simulator (the CockroachDB Cloud API and AWS KMS) and a server that stands for Slack, PagerDuty and a webhook. Everything
// that rotation and alerting say to anybody passes a proxy that can kill the process, lose an answer at an exact step, or
// keep a service from answering at all.
//
// `make e2e` runs them. Without KEYTURN_E2E=1 they are skipped.
package e2e
