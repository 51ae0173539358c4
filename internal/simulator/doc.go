// Package simulator is the outside world of keyturn on one machine: the CockroachDB Cloud API, AWS KMS, and Cloud KMS with
// what access to its keys rests on, as plain [http.Handler]s, for tests, the demo and drills.
//
// A [World] has no goroutines and no timers. Whatever time brings (an operation that ends, a rotation that completes, a
// key whose waiting period is over) is put on an agenda and done when the world is next looked at, at the time it was due.
// So tests run whole days in milliseconds under testing/synctest, and the same handlers serve real clients over a listener.
// A world answers the same calls at the same times in the same way, provided the same seed and random source.
//
// What the vendors document is always on. What they leave open is a switch ([World.Set]), so that everything can be
// tested with each answer. What nobody needs here is left out: such a path of the Cloud API answers 501 with code 12, such an
// operation of AWS KMS UnknownOperationException, such a method of Google UNIMPLEMENTED. The page at / lists what there is ([World.Page]).
//
// Where things are: world.go, clock.go, agenda.go, switches.go, records.go, control.go, page.go and faults.go are what all services
// share. cloudapi.go has the table of the Cloud API's endpoints, awskms_operations.go that of AWS KMS's operations,
// google_operations.go that of the methods of Google's APIs; each names the files behind it. google_log.go writes Google's log entries,
// and google_access.go decides whether a cluster can use a key there. wrapping.go is the one seam between clusters and KMSs.
package simulator
