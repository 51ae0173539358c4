// Package cockroachcloud is a client of the CockroachDB Cloud API for what concerns customer-managed encryption keys.
//
// Reads are retried with jittered backoff and fail with an [*Error]. Writes are sent at most once and never fail: what is
// known about them is in a [cmek.Answer]. Both go through one token bucket, because the API counts requests per service
// account. Unknown fields are ignored and unknown enum values kept, but an answer must hold the fields that answer the
// question: a 2xx without them proves nothing, since proxies send their pages with a 2xx too. A read then fails, and the
// outcome of a write is unknown.
//
// A [Client] is safe for concurrent use. It logs nothing, and no error or answer of it contains the API key.
package cockroachcloud

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/keyturn/keyturn/internal/version"
)

// Defaults of [Options].
const (
	DefaultServer          = "https://cockroachlabs.cloud"
	DefaultVersion         = "2024-09-16"
	DefaultTimeout         = 15 * time.Second
	DefaultRate            = 2.0
	DefaultMaxReadAttempts = 4
)

// UserRate is how many requests per second the API allows one service account, over all its clients
// (cockroachlabs.com/docs/cockroachcloud/cloud-api, "Rate limiting").
const UserRate = 10.0

// Environment variables that [FromEnv] reads; the Terraform provider reads the same.
const (
	EnvAPIKey = "COCKROACH_API_KEY"
	EnvServer = "COCKROACH_SERVER"
)

// Options configure a [Client]. Only APIKey is required.
type Options struct {
	// Server is the base URL; empty means DefaultServer. Plain http is allowed for a loopback host only.
	Server string
	// APIKey returns the secret of a service account's API key. It is called before the first request, and again after
	// the server refused the key, since the secret may have been rotated. It must be safe for concurrent use.
	APIKey func(context.Context) (string, error)
	// Version is the API version (header Cc-Version); empty means DefaultVersion.
	Version string
	// UserAgent names the caller; empty means keyturn and the version it was built from.
	UserAgent string
	// HTTPClient sends the requests; nil means a client on http.DefaultTransport. It is copied: redirects are not
	// followed and no cookies kept, whatever it says.
	HTTPClient *http.Client
	// Timeout bounds each attempt, from the connection to the last byte of the body, not the wait for the rate limit; 0
	// means DefaultTimeout.
	Timeout time.Duration
	// Rate is this client's share of UserRate in requests per second, spent evenly; 0 means DefaultRate. The shares of
	// all clients of one service account together should not exceed UserRate.
	Rate float64
	// MaxReadAttempts is how often a read is sent at most; 0 means DefaultMaxReadAttempts.
	MaxReadAttempts int
	// Rand is the source of jitter; nil means one seeded at random. The client guards its own use of it only.
	Rand *rand.Rand
}

// FromEnv returns the options that the environment sets. The error names each variable that is missing or wrong.
func FromEnv(getenv func(string) string) (Options, error) {
	var problems []error
	key, server := getenv(EnvAPIKey), getenv(EnvServer)
	if err := checkAPIKey(strings.TrimSpace(key)); err != nil {
		problems = append(problems, fmt.Errorf("%s: %w", EnvAPIKey, err))
	}
	if _, err := parseServer(server); err != nil {
		problems = append(problems, fmt.Errorf("%s: %w", EnvServer, err))
	}
	if err := errors.Join(problems...); err != nil {
		return Options{}, err
	}
	return Options{Server: server, APIKey: StaticAPIKey(key)}, nil
}

// StaticAPIKey is an [Options.APIKey] that never changes.
func StaticAPIKey(key string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return key, nil }
}

// Client talks to the CockroachDB Cloud API. Make one with [New].
type Client struct {
	server          *url.URL
	version         string
	userAgent       string
	http            *http.Client
	timeout         time.Duration
	maxReadAttempts int
	credential      *credential
	throttle        *throttle

	jitterMu sync.Mutex
	jitter   *rand.Rand
}

// New returns a client, or an error that names every option that is wrong. It sends nothing.
func New(o Options) (*Client, error) {
	server, err := parseServer(o.Server)
	problems := []error{err}
	if o.APIKey == nil {
		problems = append(problems, errors.New("the API key source is missing"))
	}
	if o.Rate < 0 || math.IsNaN(o.Rate) {
		problems = append(problems, fmt.Errorf("rate %v is not a number of requests per second", o.Rate))
	}
	if o.Timeout < 0 {
		problems = append(problems, fmt.Errorf("timeout %v is negative", o.Timeout))
	}
	if o.MaxReadAttempts < 0 {
		problems = append(problems, fmt.Errorf("number of read attempts %d is negative", o.MaxReadAttempts))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, fmt.Errorf("configure cockroachcloud: %w", err)
	}
	return &Client{
		server:          server,
		version:         cmp.Or(o.Version, DefaultVersion),
		userAgent:       cmp.Or(o.UserAgent, defaultUserAgent()),
		http:            withoutRedirects(o.HTTPClient),
		timeout:         cmp.Or(o.Timeout, DefaultTimeout),
		maxReadAttempts: cmp.Or(o.MaxReadAttempts, DefaultMaxReadAttempts),
		credential:      &credential{read: o.APIKey},
		throttle:        newThrottle(cmp.Or(o.Rate, DefaultRate)),
		jitter:          cmp.Or(o.Rand, rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))),
	}, nil
}

// withoutRedirects copies the client so that a redirect is an answer like any other. The API never redirects; following
// one could send a write twice, or the API key to another host.
func withoutRedirects(given *http.Client) *http.Client {
	if given == nil {
		given = &http.Client{}
	}
	own := *given
	own.Jar = nil
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &own
}

func parseServer(s string) (*url.URL, error) {
	server, err := url.Parse(strings.TrimRight(cmp.Or(s, DefaultServer), "/"))
	switch {
	case err != nil:
		return nil, errors.New("the server is not a URL") // The parse error would repeat a password in it.
	case server.Host == "" || server.Scheme != "https" && server.Scheme != "http":
		return nil, errors.New("the server is not of the form https://HOST")
	case server.User != nil || server.RawPath != "" || server.RawQuery != "" || server.Fragment != "":
		return nil, errors.New("the server must be a scheme, a host and perhaps a plain path, nothing else")
	case server.Scheme == "http" && !isLoopback(server.Hostname()):
		return nil, fmt.Errorf("the server %s is plain http, which is for loopback only: it would show the API key to the network", server)
	}
	return server, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func defaultUserAgent() string {
	return "keyturn/" + strings.Trim(version.Read().Version, "()") + " (+https://github.com/keyturn/keyturn)"
}
