package ledger

// Items are the items of one kind whose IDs begin with a prefix, with their entries in the index on keys.
type Items struct {
	Kind, Prefix string
	// But is the ID of one item that is not among them; "" for none.
	But string
}

// Which items each function writes. All others it only reads: the orders and declarations of operators, above all, are written by
// operators alone. Whoever may write an item chooses what is done with keys, so a deployment allows each function these and no others.
var (
	// OpeningItems are what rotation writes when an event opens work: clusters, and not the lease of the worker.
	OpeningItems = []Items{{Kind: kindRotation, But: workerID}}
	// FollowingItems are what rotation's worker writes: the clusters, its lease and cursor, and the policies and key states that it notes.
	FollowingItems = []Items{{Kind: kindRotation}, {Kind: kindControl, Prefix: policyPrefix}, {Kind: kindControl, Prefix: statePrefix}}
	// AlertingItems are the incidents, and the changes of policies that events reported.
	AlertingItems = []Items{{Kind: kindAlerting}}
	// ComplianceItems are the runs of the checks, and the last results.
	ComplianceItems = []Items{{Kind: kindCompliance}}
	// OperatorItems are what the commands of operators write: orders and declarations besides all that functions write.
	OperatorItems = []Items{{Kind: kindRotation}, {Kind: kindAlerting}, {Kind: kindControl}}
	// NotifyItems are what pagers were sent.
	NotifyItems = []Items{{Kind: kindNotify, Prefix: pagesPrefix}}
)
