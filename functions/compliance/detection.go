package compliance

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/cmek"
)

// Detection is what a deployment made to detect changes by, in its own words: infrastructure writes it where compliance reads it, so that
// what is missing can be missed.
type Detection struct {
	// Rules are those of EventBridge, by the place that they are in. Hub are those through which all of them lead.
	Rules []RulesIn `json:"rules,omitempty"`
	Hub   RulesIn   `json:"hub,omitzero"`
	// Sinks are those of Cloud Logging, Subscriptions those that all of them lead to, and Heartbeats the projects that heartbeats are sent from.
	Sinks         []Sink         `json:"sinks,omitempty"`
	Subscriptions []Subscription `json:"subscriptions,omitempty"`
	Heartbeats    []string       `json:"heartbeats,omitempty"`
}

// RulesIn are the rules in a place, with what belongs to them.
type RulesIn struct {
	Account string `json:"account"`
	Region  string `json:"region"`
	// Bus is the bus that the rules are on; "" is the default one. Target is what each leads to; "" where each has its own.
	Bus    string `json:"bus,omitempty"`
	Target string `json:"target,omitempty"`
	Rules  []Rule `json:"rules"`
	// DeadLetters are the names of the queues for events that could not be delivered.
	DeadLetters []string `json:"dead_letters,omitempty"`
	// Heartbeats are the Regions of the account from which heartbeats are sent.
	Heartbeats []string `json:"heartbeats,omitempty"`
}

// Rule is a rule of EventBridge.
type Rule struct {
	Name string `json:"name"`
	// Pattern is [PatternHash] of its pattern. ReadOnly: it must see read-only calls, too.
	Pattern  string `json:"pattern"`
	ReadOnly bool   `json:"read_only,omitempty"`
	Target   string `json:"target,omitempty"`
}

// Sink is a sink of Cloud Logging. Parent is the project, folder or organization that it is at, and Filter the SHA-256 of its filter.
type Sink struct {
	Parent      string `json:"parent"`
	Name        string `json:"name"`
	Destination string `json:"destination"`
	Filter      string `json:"filter"`
}

// Subscription is a push subscription of Pub/Sub.
type Subscription struct {
	Name  string `json:"name"`
	Topic string `json:"topic"`
}

// PatternHash is the SHA-256 of an event pattern, whatever the order of its fields. What is no JSON has no hash.
func PatternHash(pattern string) string {
	var value any
	if json.Unmarshal([]byte(pattern), &value) != nil {
		return ""
	}
	canonical, err := json.Marshal(value)
	if err != nil {
		return ""
	}
	return TextHash(string(canonical))
}

// TextHash is the SHA-256 of a text, as of a filter.
func TextHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// DetectionIn reads a detection from an object's bytes.
// nil for none.
func DetectionIn(read func(context.Context) ([]byte, error)) func(context.Context) (Detection, error) {
	if read == nil {
		return nil
	}
	return func(ctx context.Context) (d Detection, err error) {
		data, err := read(ctx)
		if err != nil {
			return d, fmt.Errorf("read what the detection consists of: %w", err)
		}
		if err := json.Unmarshal(data, &d); err != nil || len(d.Rules)+len(d.Sinks) == 0 {
			return d, errors.New("read what the detection consists of: it is not what a deployment writes")
		}
		return d, nil
	}
}

const (
	fromRules = "Amazon EventBridge DescribeRule and ListTargetsByRule, Amazon SQS GetQueueAttributes"
	fromSinks = "Cloud Logging GetSink, Pub/Sub GetSubscription"
)

// detection is what the deployment consists of, read once.
func (g *gatherer) detection(ctx context.Context) checks.Fact[Detection] {
	const source = "the deployment's description of itself"
	if g.Detect == nil {
		return notRead[Detection](source, "this run does not know what the deployment's detection consists of")
	}
	if g.detected == nil {
		d, err := g.Detect(ctx)
		fact := read(g, d, err, source, "reading the object of KEYTURN_DETECTION")
		g.detected = &fact
	}
	return *g.detected
}

// watch compares the detection of a place with what was deployed. A place is read once for each walk.
func (g *gatherer) watch(ctx context.Context, at place) checks.Fact[checks.Watch] {
	if known, ok := g.watches[at]; ok {
		return known
	}
	deployed := g.detection(ctx)
	if deployed.Unread != "" {
		return checks.Fact[checks.Watch]{Reading: deployed.Reading}
	}
	var w checks.Watch
	var err error
	source := fromRules
	switch at.cloud {
	case checks.AWS:
		w, err = g.rulesAt(ctx, deployed.Value, at)
	case checks.GCP:
		source = fromSinks
		w, err = g.sinksAt(ctx, deployed.Value, at)
	}
	if errors.Is(err, errNotHere) {
		return notRead[checks.Watch](source, notHere)
	}
	g.watches[at] = read(g, w, err, source, "")
	return g.watches[at]
}

var errNotHere = errors.New(notHere)

// rulesAt are the rules of a place and, as parts of it, those of the hub.
func (g *gatherer) rulesAt(ctx context.Context, d Detection, at place) (w checks.Watch, err error) {
	if g.AWS.Rules == nil {
		return w, errNotHere
	}
	i := slices.IndexFunc(d.Rules, func(r RulesIn) bool { return r.Account == at.account && r.Region == at.location })
	if i < 0 {
		return checks.Watch{Unwatched: true}, nil
	}
	if err := g.rules(ctx, &w, at.account, d.Rules[i]); err != nil {
		return w, err
	}
	if g.hub == nil {
		hub := checks.Watch{}
		if err := g.rules(ctx, &hub, "", d.Hub); err != nil { // with our own credentials
			return w, err
		}
		g.hub = &hub
	}
	w.Parts, w.DeadLetters = append(w.Parts, g.hub.Parts...), w.DeadLetters+g.hub.DeadLetters
	return w, nil
}

// rules adds the parts, read as the account's reader, or with our own credentials for none.
func (g *gatherer) rules(ctx context.Context, w *checks.Watch, account string, in RulesIn) error {
	for _, want := range in.Rules {
		is, err := g.AWS.Rules.Rule(ctx, account, in.Region, in.Bus, want.Name)
		if err != nil && !errors.Is(err, cmek.ErrNotFound) {
			return err
		}
		part := checks.Part{Kind: checks.PartRule, Name: want.Name, Region: in.Region, Bus: in.Bus}
		part.Why, part.Disabled = want.wrong(is, err != nil, in.Target)
		part.Healthy = part.Why == ""
		w.Parts = append(w.Parts, part)
	}
	for _, queue := range in.DeadLetters {
		waiting, err := g.AWS.Rules.Waiting(ctx, account, in.Account, in.Region, queue)
		if err != nil {
			return err
		}
		w.DeadLetters += waiting
	}
	return nil
}

// wrong is what is wrong with a rule; "" if nothing is. disabled: it is enough to enable it.
func (r Rule) wrong(is cmek.EventRule, missing bool, target string) (why string, disabled bool) {
	if r.Target != "" {
		target = r.Target
	}
	const all = "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"
	switch {
	case missing:
		return "does not exist", false
	case r.Pattern == "" || PatternHash(is.Pattern) != r.Pattern:
		return "has another pattern", false
	case target == "" || !slices.Contains(is.Targets, target):
		return "does not lead to " + target, false
	case is.State == all, is.State == "ENABLED" && !r.ReadOnly:
		return "", false
	case is.State == "ENABLED":
		return "does not see read-only calls", false
	case is.State == "DISABLED":
		return "is disabled", !r.ReadOnly
	}
	return "has the state " + is.State, false
}

// sinksAt are the sinks of a project and of what is above it, and the subscriptions that they lead to.
func (g *gatherer) sinksAt(ctx context.Context, d Detection, at place) (w checks.Watch, err error) {
	if g.Google.Sinks == nil {
		return w, errNotHere
	}
	project := "projects/" + at.account
	var covering []Sink
	for _, sink := range d.Sinks {
		if sink.Parent == project {
			covering = append(covering, sink)
		}
	}
	if covering == nil && slices.ContainsFunc(d.Sinks, func(s Sink) bool { return !strings.HasPrefix(s.Parent, "projects/") }) {
		levels, parents := g.levels(ctx, project)
		if parents.Unread != "" {
			return w, fmt.Errorf("read what is above %s: %w", project, unreadError(parents.Reading))
		}
		for _, sink := range d.Sinks {
			if slices.Contains(levels, sink.Parent) {
				covering = append(covering, sink)
			}
		}
	}
	if covering == nil {
		return checks.Watch{Unwatched: true}, nil
	}
	for _, want := range covering {
		is, err := g.Google.Sinks.Sink(ctx, want.Parent+"/sinks/"+want.Name)
		if err != nil && !errors.Is(err, cmek.ErrNotFound) {
			return w, err
		}
		why := want.wrong(is, err != nil)
		w.Parts = append(w.Parts, checks.Part{Kind: checks.PartSink, Name: want.Parent + "/sinks/" + want.Name, Why: why, Healthy: why == ""})
	}
	for _, want := range d.Subscriptions {
		is, err := g.Google.Sinks.Subscription(ctx, want.Name)
		if err != nil && !errors.Is(err, cmek.ErrNotFound) {
			return w, err
		}
		why := want.wrong(is, err != nil)
		w.Parts = append(w.Parts, checks.Part{Kind: checks.PartSubscription, Name: want.Name, Why: why, Healthy: why == ""})
	}
	return w, nil
}

// unreadError is a reading that is unread as an error, with its permission.
func unreadError(r checks.Reading) error {
	err := errors.New(r.Unread)
	if r.Grant == "" {
		return err
	}
	return &cmek.PermissionError{Permission: r.Grant, Err: fmt.Errorf("%w: %w", cmek.ErrDenied, err)}
}

func (s Sink) wrong(is cmek.LogSink, missing bool) string {
	switch {
	case missing:
		return "does not exist"
	case is.Disabled:
		return "is disabled"
	case TextHash(is.Filter) != s.Filter:
		return "has another filter"
	case is.Exclusions > 0:
		return fmt.Sprintf("leaves out what its exclusions say (%d)", is.Exclusions)
	case is.Destination != s.Destination:
		return "does not lead to " + s.Destination
	case !strings.HasPrefix(s.Parent, "projects/") && !is.IncludeChildren:
		return "does not include projects below it"
	}
	return ""
}

func (s Subscription) wrong(is cmek.PushSubscription, missing bool) string {
	switch {
	case missing:
		return "does not exist"
	case is.Detached || is.Topic != s.Topic:
		return "is not of topic " + s.Topic
	case is.Filter != "":
		return "leaves out what its filter says"
	case is.Endpoint == "":
		return "does not push"
	case is.State != "ACTIVE":
		return "has the state " + is.State
	}
	return ""
}

// heartbeat is the last heartbeat that proves a place: its own if one is sent from there, else the oldest of those that take the same way.
func (g *gatherer) heartbeat(ctx context.Context, at place) checks.Fact[checks.Heartbeat] {
	deployed := g.detection(ctx)
	switch {
	case g.Ledger == nil:
		return notRead[checks.Heartbeat](fromLedger, noLedger)
	case deployed.Unread != "":
		return checks.Fact[checks.Heartbeat]{Reading: deployed.Reading}
	}
	sent := deployed.Value.heartbeats(at)
	if len(sent) == 0 {
		return checks.Known(checks.Heartbeat{None: true}, time.Now(), fromLedger)
	}
	var last checks.Heartbeat
	for i, from := range sent {
		h, err := g.Ledger.Heartbeat(ctx, from.account, from.location)
		if err != nil {
			return notRead[checks.Heartbeat](fromLedger, err.Error())
		}
		if i > 0 && !h.At.Before(last.At) {
			continue
		}
		last = checks.Heartbeat{At: h.At}
		if from != at {
			last.From = from.String()
		}
	}
	return checks.Known(last, time.Now(), fromLedger)
}

// heartbeats are the places whose heartbeats prove the one: itself, or those of its account, whose events take the same way from the trail to
// the hub's bus. On Google Cloud one of a project that is below the same sinks takes the same way.
func (d Detection) heartbeats(at place) (from []place) {
	if at.cloud == checks.GCP {
		for _, project := range d.Heartbeats {
			if project == at.account {
				return []place{at}
			}
			if !slices.ContainsFunc(d.Sinks, func(s Sink) bool { return !strings.HasPrefix(s.Parent, "organizations/") }) {
				from = append(from, place{cloud: checks.GCP, account: project})
			}
		}
		return from
	}
	for _, in := range d.Rules {
		if in.Account != at.account {
			continue
		}
		for _, region := range in.Heartbeats {
			if region == at.location {
				return []place{at}
			}
			if one := (place{checks.AWS, in.Account, region}); !slices.Contains(from, one) {
				from = append(from, one)
			}
		}
	}
	return from
}
