// Package channel delivers alerts to people and programs: Slack, PagerDuty, and any receiver of signed webhooks.
//
// Each channel sends one request for an alert, or for several, and never repeats it; whoever calls has a queue that delivers again. An
// error is a [*Refused] if the channel answered. No error contains a channel's secret, its URL or what was sent.
package channel

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/version"
)

// Secret reads the secret of a channel: Slack's webhook URL, PagerDuty's routing key, or the webhook's signing key. It is
// called for each alert, so that a secret that was replaced is used at once; alerts are rare.
type Secret func(context.Context) (string, error)

// Refused is the error of a channel that answered anything but a 2xx status.
type Refused struct {
	Status int
	// Reason is what the channel says in its own documented words, or "".
	Reason string
	// RetryAfter is for how long nothing should be sent; 0 if the channel has no such wish. It is at most 5 min, whatever
	// the channel says, and at least 1 s with status 429.
	RetryAfter time.Duration
}

// Error says what the channel answered, and whether sending again is of any use.
func (e *Refused) Error() string {
	text := fmt.Sprintf("the channel answered %d %s", e.Status, http.StatusText(e.Status))
	if e.Reason != "" {
		text += fmt.Sprintf(" (%s)", e.Reason)
	}
	if e.Permanent() {
		text += "; the same will not be accepted later either: fix the channel's secret or URL"
	}
	return text
}

// Permanent reports whether the channel will go on refusing until its settings are fixed. A redirect is permanent
// too, since none is followed.
func (e *Refused) Permanent() bool {
	switch e.Status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return e.Status < http.StatusInternalServerError
}

// OfContent reports whether the channel refused what was sent, and not who sent it or when: something else may be accepted.
func (e *Refused) OfContent() bool {
	switch e.Status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return true
	}
	return false
}

// CheckURL reports whether the text can be a channel's URL: https, or plain http to a loopback host (which a client allows
// only within its [Reach]), without user and password. The error does not quote it: such a URL is often a secret.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return errors.New("it is not a URL")
	case u.Scheme != "https" && u.Scheme != "http" || u.Host == "":
		return errors.New("it is not of the form https://HOST/PATH")
	case u.User != nil:
		return errors.New("it has a user name or password in it")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return errors.New("it is plain http, want https")
	}
	return nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// request is one POST of JSON to a channel.
type request struct {
	url    string
	body   []byte
	header http.Header // besides the usual ones; may be nil
	secret string      // kept out of errors, as is the URL
	// explain takes the reason out of the body of a refusal. It must not pass on what a stranger's server could echo. nil:
	// there is none.
	explain func(body []byte) string
}

// LongestPause is the longest pause that a channel can ask for.
const LongestPause = 5 * time.Minute

// mostAnswer is how many bytes of an answer are read.
const mostAnswer = 4 << 10

// send posts the request once.
func (r request) send(ctx context.Context, client *http.Client) error {
	if err := CheckURL(r.url); err != nil {
		return fmt.Errorf("use the channel's URL: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, bytes.NewReader(r.body))
	if err != nil {
		return r.redact(err)
	}
	for name, values := range r.header {
		req.Header[name] = values
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "keyturn (+https://github.com/keyturn/keyturn)")
	resp, err := client.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // The wrapping repeats the URL.
		}
		return r.redact(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, mostAnswer)) // The status decides; the body only explains.
	if resp.StatusCode/100 == 2 {
		return nil
	}
	refused := &Refused{Status: resp.StatusCode, RetryAfter: retryAfter(resp)}
	if r.explain != nil {
		refused.Reason = r.hide(clip(line(r.explain(answer)), 200))
	}
	return refused
}

// retryAfter reads the header Retry-After, as seconds or as a date (RFC 9110, section 10.2.3).
func retryAfter(resp *http.Response) (wait time.Duration) {
	value := resp.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		wait = time.Until(at)
	}
	if resp.StatusCode == http.StatusTooManyRequests {
		wait = max(wait, time.Second)
	}
	return min(max(wait, 0), LongestPause)
}

// redacted is an error whose text hides what must not be read; its cause is still there to be matched.
type redacted struct {
	text  string
	cause error
}

func (e redacted) Error() string { return e.text }
func (e redacted) Unwrap() error { return e.cause }

func (r request) redact(err error) error { return redacted{r.hide(err.Error()), err} }

// hide replaces the secret and the URL with its parts; even a host name can be all that protects a receiver.
func (r request) hide(text string) string {
	const hidden = "[hidden]"
	secrets := []string{r.secret, r.url}
	if u, err := url.Parse(r.url); err == nil {
		secrets = append(secrets, u.Host, u.Hostname(), u.RawQuery)
		if len(u.Path) > 1 {
			secrets = append(secrets, u.Path)
		}
	}
	for _, s := range secrets {
		if s != "" {
			text = strings.ReplaceAll(text, s, hidden)
		}
	}
	return text
}

// runbookURL is the address of an alert's runbook: its path below the base; "" if that is none.
func runbookURL(base, runbook string) string {
	path, err := url.Parse(runbook)
	if err != nil || runbook == "" {
		return ""
	}
	root, err := url.Parse(strings.TrimRight(cmp.Or(base, version.Source(version.Read().Version)), "/") + "/")
	if err != nil {
		return ""
	}
	return root.ResolveReference(path).String()
}
