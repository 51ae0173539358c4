package channel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// Reach says which addresses a channel may have besides the public internet. The zero value is none. Link-local,
// metadata, multicast and reserved addresses are out of reach whatever it says.
type Reach struct {
	// Private allows the networks of RFC 1918, RFC 6598 (100.64.0.0/10) and RFC 4193 (fc00::/7): a receiver in one's own
	// network.
	Private bool
	// Loopback allows this machine itself, and plain http to it. It is for tests and demonstrations.
	Loopback bool
}

// Limits of one request. An alert is late after seconds, and a Lambda function pays for waiting.
const (
	requestTimeout = 10 * time.Second
	dialTimeout    = 4 * time.Second
)

// NewClient returns an HTTP client that sends to addresses within reach only, by https only (plain http to a loopback
// address if that is allowed), within 10 s. The check is on the address that is dialed, so a name that resolves to
// something else the second time gains nothing. Redirects are answers, not followed; proxies of the environment are not
// used, because what a proxy dials cannot be checked here.
func NewClient(reach Reach) *http.Client {
	transport := guard{https: dialing(reach.check)}
	if reach.Loopback {
		transport.http = dialing(onlyLoopback)
	}
	return &http.Client{
		Transport:     transport,
		Timeout:       requestTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// guard sends a request by the transport for its scheme. http is nil where plain http is not allowed.
type guard struct{ https, http http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (g guard) RoundTrip(r *http.Request) (*http.Response, error) {
	switch {
	case r.URL.Scheme == "https":
		return g.https.RoundTrip(r)
	case r.URL.Scheme == "http" && g.http != nil:
		return g.http.RoundTrip(r)
	}
	if r.Body != nil {
		_ = r.Body.Close() // A RoundTripper must, also on errors.
	}
	return nil, errors.New("only https is allowed")
}

// dialing returns a transport that asks check about each address, after its name was resolved and before it is dialed.
// Connections are not kept: a function is frozen between its invocations, and they would be closed when it wakes.
func dialing(check func(netip.Addr) error) *http.Transport {
	dialer := &net.Dialer{
		Timeout: dialTimeout,
		ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
			target, err := netip.ParseAddrPort(address)
			if err != nil {
				return errors.New("not an address of the internet protocol")
			}
			return check(target.Addr())
		},
	}
	return &http.Transport{
		DialContext:            dialer.DialContext,
		TLSHandshakeTimeout:    dialTimeout,
		MaxResponseHeaderBytes: 64 << 10,
		ForceAttemptHTTP2:      true,
		DisableKeepAlives:      true,
	}
}

func onlyLoopback(address netip.Addr) error {
	if !address.Unmap().IsLoopback() {
		return errors.New("plain http is for loopback addresses only")
	}
	return nil
}

// Kinds of special addresses that a decision hangs on.
const (
	loopbackKind = "a loopback address"
	privateKind  = "a private address"
	reservedKind = "a reserved address"
)

// network is a block of addresses of one kind.
type network struct {
	prefix netip.Prefix
	kind   string
}

// The blocks of the IANA special-purpose address registries (iana.org/assignments/iana-ipv4-special-registry and
// iana-ipv6-special-registry) that matter here. What netip knows by itself is not repeated.
var (
	// metadata are the services of cloud providers that hand out credentials and answer to addresses that are not
	// link-local.
	metadata = networks("a cloud provider's internal service",
		"fd00:ec2::/32",      // AWS: instance metadata, DNS and time
		"fd20:ce::254/128",   // Google Cloud: metadata server
		"100.100.100.200/32", // Alibaba Cloud
		"168.63.129.16/32",   // Azure: a public address with private meaning
	)
	private = networks(privateKind,
		"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
	reserved = networks(reservedKind,
		"0.0.0.0/8", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
		"240.0.0.0/4", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
	// global is where all public IPv6 addresses are.
	global = netip.MustParsePrefix("2000::/3")
	// nat64 embeds an IPv4 address in its last four bytes (RFC 6052). A function in an IPv6 subnet reaches IPv4 by it.
	nat64 = netip.MustParsePrefix("64:ff9b::/96")
)

func networks(kind string, prefixes ...string) (all []network) {
	for _, p := range prefixes {
		all = append(all, network{netip.MustParsePrefix(p), kind})
	}
	return all
}

// check returns an error that says what kind of address it is if it is out of reach.
func (r Reach) check(address netip.Addr) error {
	address = address.Unmap().WithZone("")
	if nat64.Contains(address) {
		b := address.As16()
		address = netip.AddrFrom4([4]byte(b[12:]))
	}
	kind := kindOf(address)
	switch {
	case kind == "", kind == loopbackKind && r.Loopback, kind == privateKind && r.Private:
		return nil
	}
	return fmt.Errorf("%s is %s, which no channel may have here", address, kind)
}

// kindOf is the word for a special address, "" for a public one.
func kindOf(address netip.Addr) string {
	switch {
	case address.IsLoopback():
		return loopbackKind
	case address.IsLinkLocalUnicast():
		return "a link-local address"
	case address.IsMulticast():
		return "a multicast address"
	}
	for _, blocks := range [][]network{metadata, private, reserved} {
		for _, block := range blocks {
			if block.prefix.Contains(address) {
				return block.kind
			}
		}
	}
	if address.Is6() && !global.Contains(address) {
		return reservedKind
	}
	return ""
}
