package cmek

import (
	"errors"
	"time"
)

// Errors that adapters wrap, so that callers can decide without knowing the vendor.
var (
	// ErrNotFound: the API itself said that the thing read does not exist, or does not show it to us.
	ErrNotFound = errors.New("not found")
	// ErrDenied: our own credentials were refused. It says nothing about the state of the thing.
	ErrDenied = errors.New("access denied")
	// ErrNoCredentials: there are none to call with, or they give no token. It comes with ErrDenied; no permission is missing.
	ErrNoCredentials = errors.New("no credentials")
	// ErrIncomplete: the answer lacks expected fields; it proves nothing. A cluster that had a CMEK was not read; one that
	// never had may be shown so, since the API does not document how it shows a cluster without CMEK. An answer that is not
	// of the API's form at all (a proxy's page, an error in a 2xx) does not wrap it.
	ErrIncomplete = errors.New("incomplete answer")
)

// Outcome is what is known about a write after it was sent.
type Outcome string

// The three outcomes. There is no fourth: whoever sends a write must deal with each.
const (
	// Accepted: the server said yes, in an answer that only the API can have given.
	Accepted Outcome = "accepted"
	// Refused: the API said no in a way that only means no, or was never reached; nothing happened.
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
	// Unsent: the request never left (its name, connection or TLS failed, its time was over, or it was a mistake of ours). The
	// outcome is Refused, and says nothing about the server.
	Unsent bool `json:"unsent,omitempty"`
	// Busy: the refusal is about the moment, not about the request: the cluster is locked or not ready, or the rate limit is
	// spent. The same request may be accepted later; RetryAfter may say when.
	Busy bool `json:"busy,omitempty"`
	// Info is the CMEK as the accepted answer shows it. It may be older than the write.
	Info ClusterInfo `json:"-"`
}
