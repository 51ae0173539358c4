package e2e

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// wire is what functions reach the world through: a reverse proxy in front of each service, which notes every call and
// strikes where a fault was laid.
type wire struct {
	t *testing.T
	// account is whose functions they are; it records what they need permission for.
	account *account

	mu      sync.Mutex
	calls   []call
	faults  []*fault
	outages map[string]outage // by service
}

// call is one request of a function.
type call struct {
	// service is cloud (the CockroachDB Cloud API), kms, dynamodb, s3, sns, sts, iam or secretsmanager.
	service string
	// operation is the AWS operation's name, or method and path where a service has none on the wire.
	operation string
	body      []byte
	at        time.Time
	// signed is the header Authorization: at AWS it names the access key of the caller.
	signed string
	// by is the function.
	by *lambda
}

func (c call) String() string { return c.service + " " + c.operation }

// moment is where in a call a fault strikes.
type moment string

const (
	// arriving: the request has left the function, and never reaches the service.
	arriving moment = "arriving"
	// answered: the service has done it, and the function never gets the answer.
	answered moment = "answered"
)

// fault breaks the first call that matches, once: the connection is closed without an answer, after act.
type fault struct {
	when    moment
	matches func(call) bool
	act     func(call)
	struck  bool
	// victim is the function whose call it struck.
	victim *lambda
}

// outage is what befalls every call of a service while it lasts. The service sees none.
type outage string

const (
	// hanging: the call is taken and never answered.
	hanging outage = "hanging"
	// down: the connection is closed without an answer.
	down outage = "down"
)

// interrupt begins an outage of the services.
func (w *wire) interrupt(o outage, services ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.outages = map[string]outage{}
	for _, service := range services {
		w.outages[service] = o
	}
}

// restore ends all outages.
func (w *wire) restore() { w.interrupt("") }

// suffer ends the request as an outage of the service does, if there is one.
func (w *wire) suffer(ctx context.Context, service string) {
	w.mu.Lock()
	o := w.outages[service]
	w.mu.Unlock()
	switch o {
	case hanging:
		<-ctx.Done() // The function gave up, or died.
		panic(http.ErrAbortHandler)
	case down:
		panic(http.ErrAbortHandler)
	}
}

// lay puts a fault on the wire.
func (w *wire) lay(f *fault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = append(w.faults, f)
}

// hasStruck reports whether the fault did what it was laid for.
func (w *wire) hasStruck(f *fault) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return f.struck
}

// since returns the calls after the first n.
func (w *wire) since(n int) []call {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.calls[n:])
}

func (w *wire) count() int { return len(w.since(0)) }

// to returns the URL at which a function reaches the service.
func (w *wire) to(service string, backend http.Handler, by *lambda) string {
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler) // The function died while it was sending.
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		c := call{service, operation(r, body), body, time.Now(), r.Header.Get("Authorization"), by}
		w.note(c)
		w.suffer(r.Context(), service)
		w.strike(arriving, c)
		reply := httptest.NewRecorder()
		backend.ServeHTTP(reply, r)
		if service == "sts" {
			w.account.heard(c, reply.Body.Bytes())
		}
		if service == "s3" && r.Method == http.MethodGet && reply.Code == http.StatusNotFound {
			w.account.missed(c)
		}
		w.strike(answered, c)
		for name, values := range reply.Header() {
			rw.Header()[name] = values
		}
		rw.WriteHeader(reply.Code)
		_, _ = rw.Write(reply.Body.Bytes())
	}))
	w.t.Cleanup(server.Close)
	return server.URL
}

func (w *wire) note(c call) {
	if err := w.account.record(c); err != nil {
		w.t.Error(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, c)
}

// strike closes the connection if a fault was laid for the call.
func (w *wire) strike(when moment, c call) {
	w.mu.Lock()
	i := slices.IndexFunc(w.faults, func(f *fault) bool { return !f.struck && f.when == when && f.matches(c) })
	if i < 0 {
		w.mu.Unlock()
		return
	}
	f := w.faults[i]
	f.struck, f.victim = true, c.by
	w.mu.Unlock()
	if f.act != nil {
		f.act(c)
	}
	panic(http.ErrAbortHandler)
}

// operation names what a request asks for: AWS' JSON protocols say it in X-Amz-Target, its query protocol in the form field
// Action (docs.aws.amazon.com/sns/latest/api/API_Publish.html); REST services only have method and path.
func operation(r *http.Request, body []byte) string {
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		return target[strings.LastIndexByte(target, '.')+1:]
	}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		if form, err := url.ParseQuery(string(body)); err == nil && form.Has("Action") {
			return form.Get("Action")
		}
	}
	if r.URL.Query().Has("versions") {
		return "ListObjectVersions " + r.URL.Path + "?" + r.URL.Query().Get("prefix")
	}
	return r.Method + " " + r.URL.Path
}

// toMoto passes requests on to moto_server.
func toMoto(t *testing.T) http.Handler {
	target, err := url.Parse(motoEndpoint)
	if err != nil {
		t.Fatal(err)
	}
	return &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
}
