package cmektest

import (
	"math/rand/v2"
	"time"
)

// NetworkFault is one thing that a [Network] does to a request or its answer.
type NetworkFault string

// The faults of a network.
const (
	// RefuseConnection: the request never leaves (a dial error). Through a proxy it is a reset connection.
	RefuseConnection NetworkFault = "connection refused"
	// LoseRequest: the server never gets the request. The client sees the same as of LoseAnswer: a reset connection.
	LoseRequest NetworkFault = "request lost"
	// LoseAnswer: the server acts, and the connection breaks before its answer arrives.
	LoseAnswer NetworkFault = "answer lost"
	// DelayRequest and DelayAnswer take between the profile's LeastDelay and MostDelay, or until the context ends. They come
	// in addition to any other fault.
	DelayRequest NetworkFault = "request delayed"
	DelayAnswer  NetworkFault = "answer delayed"
	// CutBody: the server acts; the connection breaks in the body of its answer (io.ErrUnexpectedEOF, full Content-Length).
	CutBody NetworkFault = "body cut"
	// TruncateBody: the server acts; its answer ends early, with the Content-Length of what is there.
	TruncateBody NetworkFault = "body truncated"
	// ServeStale: a GET gets an answer that the server gave for the same URL up to Profile.StaleFor before; the oldest that is
	// known of a random age. Without one known, the newest answer is served and nothing is logged.
	ServeStale NetworkFault = "stale answer"

	// The rest replaces the answer. Whether the server acts first is up to Chances.Acted or Outage.Acts.

	// PlainUnavailable: 503 in plain text, as Envoy says "upstream connect error or disconnect/reset before headers".
	PlainUnavailable NetworkFault = "503 plain text"
	// SignInPage: 200 with an HTML page.
	SignInPage NetworkFault = "200 sign-in page"
	// EmptyAnswer: 200, 202 or 204 without a body.
	EmptyAnswer NetworkFault = "2xx without body"
	// EmptyObject: 200 with {}.
	EmptyObject NetworkFault = "200 {}"
	// ClosingOK and ClosingUnavailable: a Status with code 14 "transport is closing", as 200 and as 503.
	ClosingOK          NetworkFault = "200 transport is closing"
	ClosingUnavailable NetworkFault = "503 transport is closing"
	// BadGateway: 502 with an HTML page.
	BadGateway NetworkFault = "502 HTML"
	// GatewayTimeout: 504 in plain text.
	GatewayTimeout NetworkFault = "504 plain text"

	// A client may take these for a refusal, so the server never acts.

	// RateLimited: 429 in plain text, without Retry-After.
	RateLimited NetworkFault = "429"
	// RateLimitedRetryAfter: 429 with a Status and a Retry-After of up to 30 s, as seconds or as a date.
	RateLimitedRetryAfter NetworkFault = "429 with Retry-After"
	// ProxyAuthentication: 407 with an HTML page.
	ProxyAuthentication NetworkFault = "407 HTML"
)

// Replacements are the faults that replace an answer.
var Replacements = []NetworkFault{PlainUnavailable, SignInPage, EmptyAnswer, EmptyObject, ClosingOK, ClosingUnavailable, BadGateway,
	GatewayTimeout, RateLimited, RateLimitedRetryAfter, ProxyAuthentication}

// needsServer reports whether the fault is one of the server's answer.
func (f NetworkFault) needsServer() bool {
	switch f {
	case LoseAnswer, CutBody, TruncateBody, ServeStale:
		return true
	}
	return false
}

// refuses reports whether a client may rely on it that the server did not act.
func (f NetworkFault) refuses() bool {
	switch f {
	case RefuseConnection, LoseRequest, RateLimited, RateLimitedRetryAfter, ProxyAuthentication:
		return true
	}
	return false
}

// Profile says how bad a network is. The zero value is a network without faults.
type Profile struct {
	// Reads are the chances of GET and HEAD, Writes those of all other methods.
	Reads, Writes Chances
	// Delays take between LeastDelay and MostDelay.
	LeastDelay, MostDelay time.Duration
	// StaleFor bounds the age of stale answers at their delivery; 0 and more than MostStale mean MostStale. A test whose
	// other times are shortened shortens it likewise.
	StaleFor time.Duration
	// Probe is an API key with which the network reads, right before each write that it forwards, the cluster concerned, its
	// CMEK and the lists seen so far, so that a later read can be served the state before the write. The requests count
	// against the rate limit of the key's service account, which should be none of the client under test; in the simulator's
	// default world that is org-admin. "" means that only answers to the client's own reads are known.
	Probe string
	// Outages are times at which nothing works, counted from when the profile is set.
	Outages []Outage
}

// Chances are probabilities from 0 to 1. Delays are drawn for themselves; of the others a request meets one at most, so their
// sum should not exceed 1.
type Chances struct {
	DelayRequest, DelayAnswer float64

	RefuseConnection, LoseRequest, LoseAnswer, CutBody, TruncateBody, ServeStale float64

	PlainUnavailable, SignInPage, EmptyAnswer, EmptyObject, ClosingOK, ClosingUnavailable, BadGateway, GatewayTimeout,
	RateLimited, RateLimitedRetryAfter, ProxyAuthentication float64

	// Acted is the chance that the server acts on a request before its answer is replaced by one that proves no refusal.
	Acted float64
}

// chance is one field of Chances.
type chance struct {
	fault NetworkFault
	of    *float64
}

// exclusive are the chances of which a request meets one at most.
func (c *Chances) exclusive() []chance {
	return []chance{
		{RefuseConnection, &c.RefuseConnection}, {LoseRequest, &c.LoseRequest}, {LoseAnswer, &c.LoseAnswer},
		{CutBody, &c.CutBody}, {TruncateBody, &c.TruncateBody}, {ServeStale, &c.ServeStale},
		{PlainUnavailable, &c.PlainUnavailable}, {SignInPage, &c.SignInPage}, {EmptyAnswer, &c.EmptyAnswer},
		{EmptyObject, &c.EmptyObject}, {ClosingOK, &c.ClosingOK}, {ClosingUnavailable, &c.ClosingUnavailable},
		{BadGateway, &c.BadGateway}, {GatewayTimeout, &c.GatewayTimeout}, {RateLimited, &c.RateLimited},
		{RateLimitedRetryAfter, &c.RateLimitedRetryAfter}, {ProxyAuthentication, &c.ProxyAuthentication},
	}
}

// Replaced returns the chances with the chance p of a replaced answer, shared evenly by all kinds of replacement.
func (c Chances) Replaced(p float64) Chances {
	for _, field := range c.exclusive() {
		for _, fault := range Replacements {
			if field.fault == fault {
				*field.of = p / float64(len(Replacements))
			}
		}
	}
	return c
}

// pick returns the fault for a random value from 0 to 1, or "".
func (c Chances) pick(luck float64) NetworkFault {
	for _, field := range c.exclusive() {
		if luck -= *field.of; luck < 0 {
			return field.fault
		}
	}
	return ""
}

func (p Profile) delay(luck float64) time.Duration {
	return p.LeastDelay + time.Duration(luck*float64(max(p.MostDelay-p.LeastDelay, 0)))
}

func (p Profile) staleFor() time.Duration {
	if p.StaleFor <= 0 {
		return MostStale
	}
	return min(p.StaleFor, MostStale)
}

// Outage is a time in which every request fails.
type Outage struct {
	// After is the time until it begins, For how long it takes.
	After, For time.Duration
	// Faults are drawn from evenly; none means all Replacements. One that needs the server's answer lets it act.
	Faults []NetworkFault
	// Acts is the chance that the server acts on a write whose answer is replaced by one that proves no refusal. Reads do not
	// reach the server.
	Acts float64
}

func (o Outage) pick(luck float64) NetworkFault {
	faults := o.Faults
	if len(faults) == 0 {
		faults = Replacements
	}
	return faults[int(luck*float64(len(faults)))]
}

// RandomProfile draws a profile for a seeded test: from mild to hostile in each respect, stale reads included, without outages.
// The caller sets StaleFor, Probe and the delays' bounds if the defaults, 1 s to 30 s, do not fit.
func RandomProfile(random *rand.Rand) Profile {
	upTo := func(most float64) float64 { return random.Float64() * most }
	draw := func() Chances {
		return Chances{
			DelayRequest: upTo(0.05), DelayAnswer: upTo(0.05), RefuseConnection: upTo(0.03), LoseRequest: upTo(0.05),
			LoseAnswer: upTo(0.1), CutBody: upTo(0.05), TruncateBody: upTo(0.05), Acted: upTo(1),
		}.Replaced(upTo(0.2))
	}
	p := Profile{Reads: draw(), Writes: draw(), LeastDelay: time.Second, MostDelay: 30 * time.Second}
	p.Reads.ServeStale = upTo(0.4)
	return p
}
