package google

import (
	"cmp"
	"context"
	"encoding/json"
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
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
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
	c := Config{HTTP: client, Endpoint: getenv(EndpointVariable), Tokens: &defaultTokens{quota: getenv(quotaVariable)}}
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

// quotaVariable names the project whose quota calls count against, before what the credentials say
// (cloud.google.com/docs/quotas/set-quota-project).
const quotaVariable = "GOOGLE_CLOUD_QUOTA_PROJECT"

// defaultTokens are the application default credentials, found at their first use. It is safe for concurrent use.
type defaultTokens struct {
	mu    sync.Mutex
	found oauth2.TokenSource
	quota string
}

// Token returns a token that is valid. Its error wraps nothing that tells why: see [tokenError].
func (d *defaultTokens) Token() (*oauth2.Token, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.find(); err != nil {
		return nil, err
	}
	return d.found.Token()
}

func (d *defaultTokens) find() error {
	if d.found != nil {
		return nil
	}
	found, err := google.FindDefaultCredentials(context.Background(), scope)
	if err != nil {
		return err
	}
	var file struct {
		Quota string `json:"quota_project_id"`
	}
	_ = json.Unmarshal(found.JSON, &file) // there is none on Google Cloud
	d.found, d.quota = found.TokenSource, cmp.Or(d.quota, file.Quota)
	return nil
}

// quotaProject is the project that calls are counted for; "" for that of the credentials. A person's have none, and many APIs refuse them
// without (cloud.google.com/docs/authentication/troubleshoot-adc, "User credentials not working").
func (d *defaultTokens) quotaProject() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.find() != nil {
		return "" // whoever asks for a token learns why
	}
	return d.quota
}

// quotaHeader says whose quota a call counts against (cloud.google.com/apis/docs/system-parameters). Over gRPC it is in lower case.
const quotaHeader = "X-Goog-User-Project"

// quotaProject is that of the credentials, if they know one.
func (c Config) quotaProject() string {
	if of, ok := c.Tokens.(interface{ quotaProject() string }); ok {
		return of.quotaProject()
	}
	return ""
}

// counted names the quota's project in each call. Tokens themselves are none's.
type counted struct {
	config Config
	next   http.RoundTripper
}

func (c counted) RoundTrip(req *http.Request) (*http.Response, error) {
	if project := c.config.quotaProject(); project != "" && req.URL.Host != "oauth2.googleapis.com" {
		req = req.Clone(req.Context())
		req.Header.Set(quotaHeader, project)
	}
	return c.next.RoundTrip(req)
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
		client.Transport = &oauth2.Transport{Source: tokens{c.Tokens}, Base: counted{c, client.Transport}}
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

// counting is the context of a call over gRPC that names the quota's project.
func (c Config) counting(ctx context.Context) context.Context {
	if project := c.quotaProject(); project != "" {
		return metadata.AppendToOutgoingContext(ctx, strings.ToLower(quotaHeader), project)
	}
	return ctx
}

// overGRPC are the options of a client that uses gRPC.
func (c Config) overGRPC() []option.ClientOption {
	if c.Tokens == nil {
		return []option.ClientOption{option.WithoutAuthentication()}
	}
	unary := func(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
		return invoke(c.counting(ctx), method, request, reply, conn, options...)
	}
	stream := func(ctx context.Context, d *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, options ...grpc.CallOption) (grpc.ClientStream, error) {
		return open(c.counting(ctx), d, conn, method, options...)
	}
	return []option.ClientOption{
		option.WithTokenSource(tokens{c.Tokens}), option.WithGRPCDialOption(grpc.WithChainUnaryInterceptor(unary)), option.WithGRPCDialOption(grpc.WithChainStreamInterceptor(stream)),
	}
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
