package alert

// Incident codes: what is broken as long as an incident is open. They are part of dedup keys and of the ledger's items.
const (
	KeyUnusable = "key-unusable"
	AccessLost  = "access-lost"
	// OrderUndone is a region that left the key which an order moved it to. It is open while the ledger says so with the order, and has no
	// item of its own.
	OrderUndone = "order-undone"
	// OnHold is an operator's hold, which is nothing that is broken.
	OnHold = "hold"
)

// ChangeKeyUnusable is the change of rotation's own alert about a key that a sweep found unusable, whatever event did it. Alerting
// reads it from a cluster's alarms.
const ChangeKeyUnusable = "key unusable"

// IncidentKey is the dedup key of an incident: what is broken, at which key, principal or key store.
func IncidentKey(code, subject string) string { return code + "/" + subject }
