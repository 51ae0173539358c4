package cmek

// EventRule is a rule of EventBridge as it is now.
type EventRule struct {
	// State is the API's word, as ENABLED; Pattern the event pattern as JSON.
	State   string
	Pattern string
	// Targets are the ARNs of all its targets.
	Targets []string
}

// LogSink is a sink of Cloud Logging as it is now.
type LogSink struct {
	Destination string
	Filter      string
	Disabled    bool
	// Exclusions counts the exclusions that are not disabled.
	Exclusions int
	// IncludeChildren: a sink of a folder or an organization takes the logs of all that is below it.
	IncludeChildren bool
}

// PushSubscription is a subscription of Pub/Sub as it is now.
type PushSubscription struct {
	Topic    string
	Endpoint string
	Filter   string
	// State is the API's word, ACTIVE or RESOURCE_ERROR.
	State    string
	Detached bool
}
