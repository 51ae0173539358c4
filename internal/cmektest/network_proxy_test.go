package cmektest_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/cmektest"
)

// newProxy serves a proxy with the profile in front of a server that answers "hello".
func newProxy(t *testing.T, profile cmektest.Profile) (address string, network *cmektest.Network) {
	t.Helper()
	behind := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	t.Cleanup(behind.Close)
	target, err := url.Parse(behind.URL)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	network = cmektest.NewNetwork(transport, newRandom(1), profile)
	front := httptest.NewServer(cmektest.Proxy(target, network))
	t.Cleanup(front.Close)
	return front.URL, network
}

func put(t *testing.T, address string) (*http.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, address, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	return http.DefaultClient.Do(req)
}

func TestProxy_lostAnswer_isABrokenConnection(t *testing.T) {
	for _, chances := range []cmektest.Chances{{LoseRequest: 1}, {LoseAnswer: 1}, {RefuseConnection: 1}} {
		address, network := newProxy(t, cmektest.Profile{Writes: chances})
		if resp, err := put(t, address); err == nil {
			t.Errorf("%+v: got %s, want a broken connection", chances, resp.Status)
		}
		if got := len(network.Log()); got != 1 {
			t.Errorf("%+v: the proxy got %d requests, want 1", chances, got)
		}
	}
}

func TestProxy_cutBody_breaksInTheBody(t *testing.T) {
	address, _ := newProxy(t, cmektest.Profile{Writes: cmektest.Chances{CutBody: 1}})
	resp, err := put(t, address)
	if err != nil {
		t.Fatal(err)
	}
	body, err := read(t, resp)
	if !errors.Is(err, io.ErrUnexpectedEOF) || resp.ContentLength != int64(len("hello")) || len(body) == len("hello") {
		t.Errorf("got %q of %d bytes and %v, want io.ErrUnexpectedEOF in the body", body, resp.ContentLength, err)
	}
}

func TestProxy_passesAnswersAndReplacements(t *testing.T) {
	address, network := newProxy(t, cmektest.Profile{})
	resp, err := put(t, address)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := read(t, resp); body != "hello" || err != nil {
		t.Errorf("got %q %v", body, err)
	}
	for _, fault := range cmektest.Replacements {
		network.SetProfile(cmektest.Profile{Outages: []cmektest.Outage{{For: 1 << 40, Faults: []cmektest.NetworkFault{fault}}}})
		resp, err := put(t, address)
		if err != nil {
			t.Errorf("%s: %v", fault, err)
			continue
		}
		if _, err := read(t, resp); err != nil {
			t.Errorf("%s: %v", fault, err)
		}
	}
	network.SetProfile(cmektest.Profile{Writes: cmektest.Chances{TruncateBody: 1}})
	if resp, err = put(t, address); err != nil {
		t.Fatal(err)
	}
	if body, err := read(t, resp); err != nil || len(body) >= len("hello") {
		t.Errorf("truncated: got %q %v", body, err)
	}
}
