// Package amazon offers the ports of keyturn's functions on AWS: keys in KMS, the ledger in DynamoDB, alerts through SNS,
// evidence in S3, and the API key in Secrets Manager. No type of the AWS SDK goes further than this package, but for
// [Config].
//
// Constructors do no I/O. All errors are free of secrets and payloads; those that say that our own credentials were
// refused wrap cmek.ErrDenied.
package amazon
