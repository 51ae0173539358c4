package google

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
	"google.golang.org/api/option"
)

// EndpointVariable names the base URL of all REST APIs, for a simulator or a private endpoint.
const EndpointVariable = "KEYTURN_GOOGLE_ENDPOINT"

// scope covers every API that is called; what may be done is up to the roles of the service account.
const scope = "https://www.googleapis.com/auth/cloud-platform"

// Config is who we are, and through which HTTP client and where APIs are called. Firestore and Pub/Sub have their own variables
// for emulators, FIRESTORE_EMULATOR_HOST and PUBSUB_EMULATOR_HOST, which go before it and get no credentials.
type Config struct {
	// Tokens are our credentials. Nil sends none.
	Tokens oauth2.TokenSource
	// HTTP carries the calls of REST APIs. Its timeout bounds one attempt of such a call, and a call with
	// all its repeats that goes through a client of Google's.
	HTTP *http.Client
	// Endpoint is where all REST APIs are served, instead of each at its own host; "" for their own hosts.
	Endpoint string
}

// ConfigFromEnv is the configuration of a function: the application default credentials (developers.google.com, "Application
// Default Credentials"), which are looked for when the first call needs them, and [EndpointVariable]. An endpoint on this
// machine gets no credentials. The client must not be nil.
func ConfigFromEnv(getenv func(string) string, client *http.Client) (Config, error) {
	c := Config{HTTP: client, Endpoint: getenv(EndpointVariable), Tokens: &defaultTokens{}}
	if c.Endpoint == "" {
		return c, nil
	}
	u, err := url.Parse(c.Endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.User != nil {
		return Config{}, fmt.Errorf("%s is not the base URL of APIs; want https://HOST", EndpointVariable)
	}
	local := u.Hostname() == "localhost"
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil {
		local = ip.IsLoopback()
	}
	switch {
	case local:
		c.Tokens = nil
	case u.Scheme != "https":
		return Config{}, fmt.Errorf("%s is not https; tokens are sent to this machine or encrypted", EndpointVariable)
	}
	return c, nil
}

// defaultTokens are the application default credentials, found at their first use. It is safe for concurrent use.
type defaultTokens struct {
	mu    sync.Mutex
	found oauth2.TokenSource
}

// Token returns a token that is valid. Its error wraps nothing that tells why: see [tokenError].
func (d *defaultTokens) Token() (*oauth2.Token, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.found == nil {
		found, err := google.DefaultTokenSource(context.Background(), scope)
		if err != nil {
			return nil, err
		}
		d.found = found
	}
	return d.found.Token()
}

// tokenError marks an error that kept us from getting a token.
type tokenError struct{ error }

func (e tokenError) Unwrap() error { return e.error }

// tokens mark the errors of the source.
type tokens struct{ source oauth2.TokenSource }

func (t tokens) Token() (*oauth2.Token, error) {
	token, err := t.source.Token()
	if err != nil {
		return nil, tokenError{err}
	}
	return token, nil
}

// mostAnswer bounds the body of any answer. The largest is a page of a thousand key versions.
const mostAnswer = 16 << 20

// client is the HTTP client that sends our credentials.
func (c Config) client() *http.Client {
	next := c.HTTP.Transport
	if next == nil {
		next = http.DefaultTransport
	}
	client := &http.Client{Timeout: c.HTTP.Timeout, Transport: bounded{next}, CheckRedirect: noRedirect}
	if c.Tokens != nil {
		client.Transport = &oauth2.Transport{Source: tokens{c.Tokens}, Base: client.Transport}
	}
	return client
}

// options are those of a REST client.
func (c Config) options() []option.ClientOption {
	options := []option.ClientOption{option.WithHTTPClient(c.client())}
	if c.Endpoint != "" {
		options = append(options, option.WithEndpoint(c.base()))
	}
	return options
}

// base is the endpoint as a path can follow it.
func (c Config) base() string { return strings.TrimSuffix(c.Endpoint, "/") }

// noRedirect refuses redirects: no API of Google sends one, and a token must not follow it.
func noRedirect(*http.Request, []*http.Request) error { return errors.New("the answer is a redirect") }

// bounded cuts answers that no API sends.
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(req)
	if err == nil && resp.Body != nil {
		resp.Body = http.MaxBytesReader(nil, resp.Body, mostAnswer)
	}
	return resp, err
}

// longestCall bounds a call of Google's clients if the HTTP client has no timeout.
const longestCall = time.Minute

// within bounds a call with its repeats, of which Google's clients would make many.
func (c Config) within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, cmp.Or(c.HTTP.Timeout, longestCall))
}

// sleep waits, or returns the context's error if that ends first.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
