package cockroachcloud

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// Error is a read that failed. It wraps [cmek.ErrNotFound] (a 404 of the API's own), [cmek.ErrDenied] (401, 403),
// [cmek.ErrIncomplete] (a 2xx that lacks fields), or the cause if the answer is missing or unreadable. A 404 that is not the
// API's wraps none of them. Programs decide by HTTPStatus and errors.Is, never by Message.
type Error struct {
	Method string
	Path   string
	// HTTPStatus is 0 if there was no response.
	HTTPStatus int
	// Code is the gRPC code in the body, 0 if it has none.
	Code int
	// Message is the server's text: one line, without secrets, cut to a readable length; "" if there is none.
	Message string
	// RetryAfter is how long the server asked to wait, at most a minute; 0 if it did not ask.
	RetryAfter time.Duration

	cause       error
	unsent      bool // The server cannot have seen the request.
	retryable   bool // The same request may succeed later.
	rateLimited bool
	apiStatus   bool // The body is the API's Status; a proxy's answer is not.
	locked      bool // The API's Status says that the cluster is locked or not ready.
}

// Error says which call failed, what the server answered, and what to check if the status tells.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Method + " " + e.Path)
	if e.HTTPStatus != 0 {
		b.WriteString(": " + strings.TrimSpace(strconv.Itoa(e.HTTPStatus)+" "+http.StatusText(e.HTTPStatus)))
	}
	if reason := e.reason(); reason != "" {
		b.WriteString(": " + reason)
	}
	if e.Code != 0 {
		fmt.Fprintf(&b, " (gRPC code %d)", e.Code)
	}
	if e.RetryAfter != 0 {
		fmt.Fprintf(&b, "; retry after %v", e.RetryAfter)
	}
	if hint := e.hint(); hint != "" {
		b.WriteString("; " + hint)
	}
	return b.String()
}

// Unwrap returns the cause for errors.Is and errors.As; it may be nil.
func (e *Error) Unwrap() error { return e.cause }

// reason is the server's message, or what went wrong on the way.
func (e *Error) reason() string {
	if e.cause == nil || e.denied() || e.notFound() {
		return e.Message
	}
	return clip(e.cause.Error())
}

func (e *Error) hint() string {
	switch {
	case e.denied() && e.HTTPStatus == http.StatusUnauthorized:
		return "check that the API key is right and was not deleted"
	case e.denied():
		return "check the roles of the API key's service account"
	case e.notFound():
		return "it does not exist, or the API key's service account may not see it"
	case e.HTTPStatus == http.StatusNotFound && !e.rateLimited:
		return "the answer is not the API's, check the server's address and what is between"
	case e.HTTPStatus/100 == 3:
		return "redirects are not followed, check the server's address"
	}
	return ""
}

// denied reports that the server refused the API key. A rate-limit answer of that status says nothing about the key.
func (e *Error) denied() bool {
	return !e.rateLimited && (e.HTTPStatus == http.StatusUnauthorized || e.HTTPStatus == http.StatusForbidden)
}

// notFound reports that the API knows no such thing, or does not show it to this API key. A proxy's 404 says neither.
func (e *Error) notFound() bool {
	return !e.rateLimited && e.HTTPStatus == http.StatusNotFound && e.apiStatus
}

// refusal turns an answer that is not a 2xx into an Error. The body may be the API's Status or whatever a proxy wrote; whole
// tells that all of it arrived.
func (r request) refusal(resp *http.Response, body []byte, whole bool, key string) *Error {
	code, message, isStatus := parseStatus(body)
	e := &Error{
		Method: r.method, Path: r.path, HTTPStatus: resp.StatusCode, Code: code,
		Message: clip(redact(cmp.Or(message, string(body)), key)), // Text of another form is the message itself.

		apiStatus: isStatus && whole,
	}
	e.locked = e.apiStatus && speaksOfLock(message)
	if resp.StatusCode >= 400 {
		e.RetryAfter = retryAfter(resp.Header, time.Now())
		e.rateLimited = resp.StatusCode == http.StatusTooManyRequests ||
			strings.Contains(strings.ToLower(string(body)), "rate limit exceeded")
	}
	switch {
	case e.notFound():
		e.cause = cmek.ErrNotFound
	case e.denied():
		e.cause = cmek.ErrDenied
	}
	// A rate-limit answer has a documented header and text, but no documented status.
	e.retryable = e.rateLimited || e.RetryAfter > 0 || worthRepeating(resp.StatusCode) ||
		resp.StatusCode == http.StatusNotFound && !e.apiStatus
	return e
}

// worthRepeating reports whether a read that was answered with the status may succeed a little later.
func worthRepeating(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly:
		return true
	case http.StatusNotImplemented:
		return false
	}
	return status >= 500
}

// speaksOfLock reports whether a message says that the cluster is not ready or locked by another operation. The API
// documents neither the texts nor one status for it: the Terraform provider (v1.22.0, internal/provider/utils.go) looks for
// "lock" in the same way.
func speaksOfLock(message string) bool {
	message = strings.ToLower(message)
	return strings.Contains(message, "lock") || strings.Contains(message, "not ready")
}

// Codes that an error's Status can hold: google.golang.org/grpc/codes, without OK.
const (
	firstCode = 1
	lastCode  = 16
)

// parseStatus reads an error body: the gRPC code and the message in it, 0 and "" for what it lacks.
//
// isStatus is what the API writes and proxies do not: a JSON object whose "message" is a string, perhaps an empty one, and
// whose "code" is a gRPC code. A proxy that answers {"code": 502, "message": …} repeats the HTTP status there, which never is
// a gRPC code. "details" may be missing: the schema requires no field, and nothing is gained by asking for one that carries
// no information.
func parseStatus(body []byte) (code int, message string, isStatus bool) {
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(body, &fields) // Nil fields are missing ones.
	var text *string
	// A field of another type than documented still leaves the other one readable.
	if json.Unmarshal(fields["message"], &text) != nil {
		text = nil
	}
	if json.Unmarshal(fields["code"], &code) != nil || code < firstCode || code > lastCode {
		code = 0
	}
	if text != nil {
		message = *text
	}
	return code, message, text != nil && code != 0
}

const maxRetryAfter = time.Minute

// retryAfter reads the header Retry-After, seconds or a date (RFC 9110, 10.2.3), up to maxRetryAfter. It is 0 if the
// header is missing, malformed or in the past.
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if seconds, err := strconv.ParseFloat(value, 64); err == nil {
		if !(seconds > 0) { // NaN too
			return 0
		}
		return time.Duration(min(seconds, maxRetryAfter.Seconds()) * float64(time.Second))
	}
	date, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(date.Sub(now), 0), maxRetryAfter)
}

var (
	htmlNoise = regexp.MustCompile(`(?is)<(script|style)\b.*?</(script|style)\s*>|<[^>]*>`)
	htmlStart = regexp.MustCompile(`(?i)^\s*<(!doctype|html|head|body|\?xml)`)
)

// clip makes text that others wrote fit for a log line: one line, printable, without markup, of readable length.
func clip(text string) string {
	const most = 300
	if htmlStart.MatchString(text) {
		text = htmlNoise.ReplaceAllString(text, " ")
	}
	text = strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, ""))
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
