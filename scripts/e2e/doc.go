// Package e2e holds the end-to-end tests: the CDK app's templates, deployed by CloudFormation into moto_server (EventBridge, SQS,
// DynamoDB, S3, SNS, IAM, STS, Secrets Manager), and the Lambda binaries of rotation, alerting and notify, built with the flags
// of the Makefile and run as Lambda runs them with the environment of the templates, before the simulator (the CockroachDB
// Cloud API and AWS KMS) and a server that stands for Slack, PagerDuty and a webhook. Everything that the functions say to AWS
// and to the Cloud API passes a proxy that notes whose call it is, and that can kill the process, lose an answer at an exact
// step, or keep a service from answering at all.
//
// Those on Google Cloud are in package google.
//
// What moto_server cannot do the tests do in its place; with -v they list it.
//
// `make e2e` runs them. Without KEYTURN_E2E=1 they are skipped.
package e2e
