package cockroachcloud

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// Error is a read that failed. It wraps [cmek.ErrNotFound] (404), [cmek.ErrDenied] (401, 403), or the cause if the answer
// is missing or unreadable. Programs decide by HTTPStatus and errors.Is, never by Message.
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
	case e.redirect():
		return "redirects are not followed, check the server's address"
	}
	return ""
}

// denied reports that the server refused the API key. A rate-limit answer of that status says nothing about the key.
func (e *Error) denied() bool {
	return !e.rateLimited && (e.HTTPStatus == http.StatusUnauthorized || e.HTTPStatus == http.StatusForbidden)
}

// notFound reports that the server knows no such thing, or does not show it to this API key.
func (e *Error) notFound() bool { return !e.rateLimited && e.HTTPStatus == http.StatusNotFound }

// redirect reports a status that sends the request elsewhere before anything was done with it.
func (e *Error) redirect() bool {
	switch e.HTTPStatus {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// refusal turns an answer that is not a 2xx into an Error. The body may be the API's Status ({"code", "message"}, where
// code is the gRPC code) or whatever a proxy wrote.
func (r request) refusal(resp *http.Response, body []byte, key string) *Error {
	code, message := parseStatus(body)
	e := &Error{
		Method: r.method, Path: r.path, HTTPStatus: resp.StatusCode, Code: code, Message: clip(redact(message, key)),
	}
	if resp.StatusCode >= 400 {
		e.RetryAfter = retryAfter(resp.Header, time.Now())
		e.rateLimited = resp.StatusCode == http.StatusTooManyRequests ||
			strings.Contains(strings.ToLower(message), "rate limit exceeded")
	}
	switch {
	case e.notFound():
		e.cause = cmek.ErrNotFound
	case e.denied():
		e.cause = cmek.ErrDenied
	}
	// A rate-limit answer has a documented header and text, but no documented status.
	e.retryable = e.rateLimited || e.RetryAfter > 0 || worthRepeating(resp.StatusCode)
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

// parseStatus reads an error body. Text that is not the API's Status is the message itself.
func parseStatus(body []byte) (code int, message string) {
	var status struct {
		Message string `json:"message"`
		Code    int    `json:"code"`
	}
	// A field of another type than documented still leaves the other one readable.
	_ = json.Unmarshal(body, &status)
	if status.Message == "" {
		return status.Code, string(body)
	}
	return status.Code, status.Message
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
