package cmek

import (
	"errors"
	"time"
)

// Errors that adapters wrap, so that callers can decide without knowing the vendor.
var (
	// ErrNotFound: the thing read does not exist, or is not visible to us.
	ErrNotFound = errors.New("not found")
	// ErrDenied: our own credentials were refused. It says nothing about the state of the thing.
	ErrDenied = errors.New("access denied")
)

// Outcome is what is known about a write after it was sent.
type Outcome string

// The three outcomes. There is no fourth: whoever sends a write must deal with each.
const (
	// Accepted: the server said yes.
	Accepted Outcome = "accepted"
	// Refused: the server said no, or was never reached; nothing happened.
	Refused Outcome = "refused"
	// Unknown: it may or may not have happened. Only reading can tell; sending again may do it twice.
	Unknown Outcome = "unknown"
)

// Answer is the result of a write to the Cloud API.
type Answer struct {
	Outcome Outcome `json:"outcome"`
	// HTTPStatus is 0 if there was no response.
	HTTPStatus int `json:"http_status,omitempty"`
	// Message is the server's reason or the transport's error, free of secrets and cut to a readable length.
	Message string `json:"message,omitempty"`
	// RetryAfter is the server's wish, 0 if it had none.
	RetryAfter time.Duration `json:"retry_after,omitempty"`
	// Denied: the server refused the credential itself (401, 403).
	Denied bool `json:"denied,omitempty"`
	// Info is the CMEK as the accepted answer shows it. It may be older than the write.
	Info ClusterInfo `json:"-"`
}
