// Package cmektest says what an adapter must do, as conformance suites that run as the adapter's own tests, and holds
// in-memory adapters that pass them. For tests of what lies above the adapters it holds a [Network] that fails.
//
// A suite asks its caller for fresh instances, so each of its tests starts with nothing stored. The suites sleep only
// where a contract allows an index to lag, and no longer than a few seconds.
package cmektest
