// Package google offers the ports of keyturn's functions on Google Cloud: keys in Cloud KMS, the ledger in Firestore, alerts
// through Pub/Sub, evidence in Cloud Storage, the policies of IAM, and the API key in Secret Manager. No type of Google's
// clients goes further than this package, but for the token source in [Config].
//
// Constructors do no I/O. All errors are free of secrets and payloads; those that say that our own credentials were refused
// wrap cmek.ErrDenied, and those of an API that says that what was read does not exist wrap cmek.ErrNotFound. An answer that
// is not of the API's form (a proxy's page, an empty body) is neither.
package google
