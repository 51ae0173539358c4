// Package cmek holds the nouns of customer-managed encryption keys on CockroachDB Cloud: what a key, a key version, a
// cluster, a region's key spec, an event and an alert *are*, and the ports through which functions reach the outside
// world. It is pure: no network, no clock, no environment.
//
// Statuses and field names are CockroachDB Cloud's own words, as in its API (version 2024-09-16). Key states are one
// vocabulary for every KMS; each adapter translates its vendor's words into it.
package cmek
