package setup

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/internal/amazon/hub"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cockroachcloud"
)

// subscriptions checks that what the topics send reaches somebody: a subscription that is not confirmed within 48 hours is gone, and a
// deployment without changes does not make it again.
func (e *examination) subscriptions(ctx context.Context) {
	for _, topic := range []struct {
		arn       string
		addresses []string
	}{{e.Found.AlertsTopic, e.addresses(true)}, {e.Found.OperationsTopic, e.addresses(false)}} {
		check := "subscriptions of " + topic.arn[strings.LastIndexByte(topic.arn, ':')+1:]
		within, cancel := context.WithTimeout(ctx, patience)
		found, err := hub.Subscriptions(within, e.aws, topic.arn)
		cancel()
		if err != nil {
			e.add(check, ResultUnverified, "they cannot be listed", "see the permission sns:ListSubscriptionsByTopic")
			continue
		}
		result, detail, fix := judgeSubscriptions(topic.arn, found, topic.addresses, e.queues())
		e.add(check, result, detail, fix)
	}
}

// addresses are the people whom keyturn.yaml names for a topic; nil if it is not in reach.
func (e *examination) addresses(alerts bool) []string {
	switch {
	case e.file == nil:
		return nil
	case alerts:
		return slices.Concat(e.file.Alerts.Email, e.file.Alerts.SMS)
	}
	return slices.Concat(e.file.Operations.Email, e.file.Operations.SMS)
}

// queues are the endpoints of the channels, all of which take alerts of both topics.
func (e *examination) queues() (arns []string) {
	for _, function := range e.Found.Functions {
		if strings.HasPrefix(function, "notify-") {
			arns = append(arns, "arn:aws:sqs:"+e.Found.Region+":"+e.Found.Account+":"+e.Found.Name+"-"+function)
		}
	}
	return arns
}

// judgeSubscriptions compares a topic's subscriptions with the people and queues that should have one. Without people, whom only keyturn.yaml
// names, a lost one cannot be told.
func judgeSubscriptions(topic string, found []hub.Subscription, people, queues []string) (result, detail, fix string) {
	confirmed := func(endpoint string) bool {
		return slices.ContainsFunc(found, func(s hub.Subscription) bool { return s.Confirmed && strings.EqualFold(s.Endpoint, endpoint) })
	}
	pending, reached := []string(nil), 0
	for _, s := range found {
		switch {
		case !s.Confirmed && !confirmed(s.Endpoint):
			pending = append(pending, s.Endpoint)
		case s.Confirmed && s.Protocol != "sqs":
			reached++
		}
	}
	var lost []string
	for _, endpoint := range slices.Concat(people, queues) {
		if !confirmed(endpoint) && !slices.Contains(pending, endpoint) {
			lost = append(lost, endpoint)
		}
	}
	again := "aws sns subscribe --topic-arn " + topic + " --protocol email --notification-endpoint ADDRESS"
	switch {
	case len(pending) > 0:
		return ResultProblem, "not confirmed: " + strings.Join(pending, ", "), "follow the link in the message from AWS within 48 hours; later, subscribe again: " + again
	case len(lost) > 0:
		return ResultProblem, "lost: " + strings.Join(lost, ", "), "subscribe again (" + again + "), or deploy a change of keyturn.yaml without them, and then with them"
	case reached == 0:
		return ResultProblem, "no person is subscribed", "subscribe one: " + again
	case people == nil:
		return ResultUnverified, fmt.Sprintf("%s confirmed; whether others were lost is not known without the deployment's keyturn.yaml", terminal.Count(len(found), "subscription")), "run this beside keyturn.yaml"
	}
	return ResultOK, terminal.Count(len(found), "subscription") + ", all confirmed", ""
}

// clockRoom is by how much workers on one ledger may disagree, and the Date of an answer is cut to seconds.
const clockRoom = 2*time.Second + time.Second

// dates measures by how much the clock here is ahead of the one of a server: the Date of its answers (RFC 9110, 6.6.1) lies between the
// sending of the request and the answer.
type dates struct {
	next http.RoundTripper

	mu sync.Mutex
	// early and late bound by how much the clock here is ahead; known is false before an answer had a date.
	early, late time.Duration
	known       bool
}

// RoundTrip sends the request and notes the date of the answer.
func (d *dates) RoundTrip(r *http.Request) (*http.Response, error) {
	sent := time.Now()
	answer, err := d.next.RoundTrip(r)
	if err != nil {
		return answer, err
	}
	if date, err := http.ParseTime(answer.Header.Get("Date")); err == nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		// The server's clock showed date to date+1s.
		d.early, d.late, d.known = sent.Sub(date)-time.Second, time.Since(date), true
	}
	return answer, nil
}

// judge says whether the clock here is right.
func (d *dates) judge() (result, detail, fix string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case !d.known:
		return ResultUnverified, "no answer of the Cloud API has a date", ""
	case d.early > clockRoom:
		return ResultProblem, "the clock of this machine is ahead by " + d.early.Round(time.Second).String() + " or more", "synchronize it (NTP)"
	case d.late < -clockRoom:
		return ResultProblem, "the clock of this machine is behind by " + (-d.late).Round(time.Second).String() + " or more", "synchronize it (NTP)"
	}
	return ResultOK, "the clock of this machine agrees with that of the Cloud API", ""
}

// cloudAPI asks the Cloud API for the organization with the API key.
func (e *examination) cloudAPI(ctx context.Context) {
	const check = "Cloud API"
	s := e.settings
	if problems := s.CheckCloud(); len(problems) > 0 {
		for _, problem := range problems {
			e.add(check, ResultProblem, problem.Error(), "set it, or store the key where your shell finds it")
		}
		e.add("clock", ResultUnverified, "the Cloud API was not asked", "")
		return
	}
	clock := &dates{next: http.DefaultTransport}
	client, err := cockroachcloud.New(cockroachcloud.Options{
		Server: s.Server, APIKey: cockroachcloud.StaticAPIKey(s.APIKey), Version: s.CloudAPIVersion, HTTPClient: &http.Client{Transport: clock}, MaxReadAttempts: 2,
	})
	if err != nil {
		e.add(check, ResultProblem, err.Error(), "correct COCKROACH_SERVER")
		return
	}
	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	organization, err := client.Organization(within)
	var refused *cockroachcloud.Error
	switch {
	case err == nil && s.OrganizationID != "" && organization.ID != s.OrganizationID:
		e.add(check, ResultProblem, "the API key is of the organization "+organization.ID+", and the deployment is for "+s.OrganizationID, "use an API key of that organization")
	case err == nil:
		e.add(check, ResultOK, s.CloudAPI()+" answers; organization "+organization.Name, "")
		e.clusters(within, client)
	case errors.As(err, &refused) && refused.HTTPStatus == http.StatusUnauthorized:
		e.add(check, ResultProblem, "401: the API key is not accepted", "check COCKROACH_API_KEY: it is cut, of another server, or was deleted")
	case errors.As(err, &refused) && refused.HTTPStatus == http.StatusForbidden:
		e.add(check, ResultProblem, "403: the API key is accepted, and its service account may not read the organization", "give the service account Cluster Operator on the clusters")
	default:
		e.add(check, ResultProblem, err.Error(), "check that "+s.CloudAPI()+" is reachable from here, and the proxy settings")
	}
	result, detail, fix := clock.judge()
	e.add("clock", result, detail, fix)
}

// clusters checks that the API key sees clusters: one that may see none gets an empty list, not a refusal.
func (e *examination) clusters(ctx context.Context, cloud cmek.Cloud) {
	const check, fix = "clusters", "give the service account Cluster Operator on the clusters"
	clusters, next, err := cloud.ClusterPage(ctx, "")
	switch {
	case errors.Is(err, cmek.ErrDenied):
		e.add(check, ResultProblem, err.Error(), fix)
	case err != nil:
		e.add(check, ResultProblem, err.Error(), "try again; if it stays, ask Cockroach Labs")
	case len(clusters) == 0 && next == "":
		e.add(check, ResultProblem, "the API key sees no cluster", fix)
	default:
		e.add(check, ResultOK, "the API key sees "+terminal.Count(len(clusters), "cluster")+" on the first page", "")
	}
}
