// Package google holds the end-to-end tests on Google Cloud: the Terraform module's topics and subscriptions in Google's Pub/Sub emulator,
// which pushes to the functions as "keyturn serve" runs them with the module's own environment; Google's Firestore emulator as the ledger;
// the simulator as the CockroachDB Cloud API and as the REST APIs of Google Cloud; and a server that stands for Slack.
//
// Compliance runs in two processes of its own, because its secret is another one, as two instances that get each tick.
//
// Terraform applies the module where the google provider is on this machine (KEYTURN_TERRAFORM_CONFIG). Elsewhere the same is made of the
// module's text, which tests say, and a test that is skipped there shows that it is the same.
//
// What stands in for Google Cloud:
//
//   - Sinks: each entry that the simulator writes is published to a function's topic if the filter in the module selects it.
//   - Cloud Scheduler: the tests send the request of the module's job, and its headers.
//   - OIDC: pushes and ticks are not signed, and nobody checks who calls.
//   - The dead-letter policy's 100 attempts, 10 to 600 s apart, which last most of a day: one test makes them 5, one second apart.
//   - The filter of the subscriptions for people: the emulator keeps it and does not apply it. Metrics and alert policies are not there.
//
// `make e2e` runs them. Without KEYTURN_E2E=1 they are skipped.
package google
