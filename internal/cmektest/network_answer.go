package cmektest

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// replacement is the answer in place of the server's.
func (c call) replacement() *http.Response {
	page := func(title string) string {
		return "<html><head><title>" + title + "</title></head><body><h1>" + title + "</h1></body></html>\n"
	}
	const (
		plain, html, jsonType = "text/plain", "text/html; charset=utf-8", "application/json"
		closing               = `{"code":14,"message":"transport is closing","details":[]}`
	)
	switch c.fault {
	case SignInPage:
		return newAnswer(c.req, http.StatusOK, html, page("Sign in to continue"))
	case EmptyAnswer:
		statuses := []int{http.StatusOK, http.StatusAccepted, http.StatusNoContent}
		return newAnswer(c.req, statuses[int(c.detail*float64(len(statuses)))], "", "")
	case EmptyObject:
		return newAnswer(c.req, http.StatusOK, jsonType, "{}")
	case ClosingOK:
		return newAnswer(c.req, http.StatusOK, jsonType, closing)
	case ClosingUnavailable:
		return newAnswer(c.req, http.StatusServiceUnavailable, jsonType, closing)
	case BadGateway:
		return newAnswer(c.req, http.StatusBadGateway, html, page("502 Bad Gateway"))
	case GatewayTimeout:
		return newAnswer(c.req, http.StatusGatewayTimeout, plain, "upstream request timeout")
	case RateLimited:
		return newAnswer(c.req, http.StatusTooManyRequests, plain, "slow down")
	case RateLimitedRetryAfter:
		resp := newAnswer(c.req, http.StatusTooManyRequests, jsonType, `{"code":8,"message":"rate limit exceeded","details":[]}`)
		resp.Header.Set("Retry-After", c.retryAfter())
		return resp
	case ProxyAuthentication:
		resp := newAnswer(c.req, http.StatusProxyAuthRequired, html, page("407 Proxy Authentication Required"))
		resp.Header.Set("Proxy-Authenticate", `Basic realm="proxy"`)
		return resp
	}
	return newAnswer(c.req, http.StatusServiceUnavailable, plain,
		"upstream connect error or disconnect/reset before headers. reset reason: connection termination")
}

// retryAfter is 1 s to 30 s, as a number or as a date.
func (c call) retryAfter() string {
	seconds := 1 + int(c.detail*30)
	if seconds%2 == 0 {
		return strconv.Itoa(seconds)
	}
	return time.Now().Add(time.Duration(seconds) * time.Second).UTC().Format(http.TimeFormat)
}

func newAnswer(req *http.Request, status int, contentType, body string) *http.Response {
	resp := &http.Response{
		Status: strconv.Itoa(status) + " " + http.StatusText(status), StatusCode: status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: req,
	}
	if contentType != "" {
		resp.Header.Set("Content-Type", contentType)
	}
	if status != http.StatusNoContent {
		setLength(resp, len(body))
	}
	return resp
}

// snapshot is an answer that the server gave to a GET.
type snapshot struct {
	url    string
	status string
	code   int
	header http.Header
	body   []byte
	// taken is when the server was asked: what the answer shows is no older than that.
	taken time.Time
}

func (s snapshot) response(req *http.Request) *http.Response {
	return &http.Response{
		Status: s.status, StatusCode: s.code, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: s.header.Clone(),
		Body: io.NopCloser(bytes.NewReader(s.body)), ContentLength: int64(len(s.body)), Request: req,
	}
}

// history holds the answers of the last StaleFor, about the oldest first, and the lists that were read.
type history struct {
	snapshots []snapshot
	lists     []string
}

const (
	clustersPath = "/api/v1/clusters"
	// mostLists is how many lists are probed before a write; a long list has many pages.
	mostLists = 4
)

// remember keeps a successful answer to a GET, and forgets what is too old to be served.
func (n *Network) remember(req *http.Request, resp *http.Response, body []byte, taken time.Time) {
	if req.Method != http.MethodGet || resp.StatusCode != http.StatusOK {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	h := &n.history
	if n.profile.Reads.ServeStale == 0 {
		h.snapshots = nil
		return
	}
	url := req.URL.RequestURI()
	h.snapshots = append(h.snapshots, snapshot{url, resp.Status, resp.StatusCode, resp.Header.Clone(), body, taken})
	expired, bound := 0, n.profile.staleFor()
	for expired < len(h.snapshots) && time.Since(h.snapshots[expired].taken) > bound {
		expired++
	}
	h.snapshots = slices.Delete(h.snapshots, 0, expired)
	if req.URL.Path == clustersPath && len(h.lists) < mostLists && !slices.Contains(h.lists, url) {
		h.lists = append(h.lists, url)
	}
}

// recall returns the oldest answer to the request whose age is at most the given part of StaleFor, and which the server was asked
// for before this time.
func (n *Network) recall(req *http.Request, before time.Time, part float64) (snapshot, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	oldest := time.Duration(part * float64(n.profile.staleFor()))
	url := req.URL.RequestURI()
	for _, s := range n.history.snapshots {
		if s.url == url && s.taken.Before(before) && time.Since(s.taken) <= oldest {
			return s, true
		}
	}
	return snapshot{}, false
}

// probe reads what a write to a cluster may change. What it cannot read stays unknown.
func (n *Network) probe(req *http.Request) {
	n.mu.Lock()
	key, stale, lists := n.profile.Probe, n.profile.Reads.ServeStale > 0, slices.Clone(n.history.lists)
	n.mu.Unlock()
	below, ok := strings.CutPrefix(req.URL.Path, clustersPath+"/")
	if key == "" || !stale || !ok || req.Method == http.MethodGet || req.Method == http.MethodHead {
		return
	}
	id, _, _ := strings.Cut(below, "/")
	cluster := clustersPath + "/" + id
	for _, url := range append(lists, cluster, cluster+"/cmek") {
		n.probeOne(req, url, key)
	}
}

func (n *Network) probeOne(req *http.Request, requestURI, key string) {
	target, err := req.URL.Parse(requestURI)
	if err != nil {
		return
	}
	// The probe is the network's own business: the client's context must not end it half-way.
	probe := (&http.Request{Method: http.MethodGet, URL: target, Host: req.Host, Header: req.Header.Clone(),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}).WithContext(context.WithoutCancel(req.Context()))
	for _, name := range []string{"Content-Type", "Content-Length", "Idempotency-Key"} {
		probe.Header.Del(name)
	}
	probe.Header.Set("Authorization", "Bearer "+key)
	taken := time.Now()
	if resp, body, err := exchange(n.next, probe); err == nil { //nolint:bodyclose // the body is in memory
		n.remember(probe, resp, body, taken)
	}
}
