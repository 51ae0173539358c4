package simulator

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// CloudTrail's event history, as far as it is about KMS: every account has it, with a trail or without
// (docs.aws.amazon.com/awscloudtrail/latest/userguide/view-cloudtrail-events.html).

const (
	trailTarget = "CloudTrail_20131101."
	// trailHistory is how far back LookupEvents sees.
	trailHistory = 90 * 24 * time.Hour
	mostEvents   = 50
)

// trailRecords are the records of all accounts and Regions, the oldest first.
type trailRecords struct {
	all []recordedEvent
	// lookups are the times of the last requests, by account and Region.
	lookups map[string][]time.Time
}

type recordedEvent struct {
	trailRecord
	at, shownFrom time.Time
}

// note keeps a record, which LookupEvents shows after a while.
func (w *World) note(record trailRecord, at time.Time) {
	if !w.is(CloudTrailLookup, "never") {
		w.trail.all = append(w.trail.all, recordedEvent{record, at, at.Add(w.duration(CloudTrailLookup))})
	}
}

func isCloudTrail(r *http.Request) bool {
	return strings.Contains(r.Header.Get("X-Amz-Target"), trailTarget)
}

var trailScope = regexp.MustCompile(`Credential=([^/,\s]+)/\d{8}/([a-z0-9-]+)/cloudtrail/aws4_request`)

// AWSCloudTrail serves LookupEvents of CloudTrail in its JSON 1.1 protocol.
func (w *World) AWSCloudTrail() http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, mostBody))
		if err != nil {
			body = nil // not JSON, so the call is refused as one that cannot be read
		}
		w.answerCloudTrail(r, body).write(rw)
	})
}

func (w *World) answerCloudTrail(r *http.Request, body []byte) answer {
	now := w.enter()
	defer w.mu.Unlock()
	output, failed := w.lookupEvents(r, body, now)
	a := newAnswer(http.StatusOK, "application/x-amz-json-1.1", nil)
	if failed != nil {
		a.status, a.body = http.StatusBadRequest, toJSON(map[string]string{"__type": failed.code, "message": failed.message})
	} else {
		a.body = toJSON(output)
	}
	return a
}

// lookupInput is LookupEventsRequest (docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupEvents.html).
type lookupInput struct {
	LookupAttributes []struct{ AttributeKey, AttributeValue string }
	StartTime        *float64
	EndTime          *float64
	MaxResults       *int
	NextToken        string
}

type lookupOutput struct {
	Events    []lookedUpEvent
	NextToken string `json:",omitempty"`
}

type lookedUpEvent struct {
	EventID         string `json:"EventId"`
	EventName       string
	ReadOnly        string
	EventTime       epoch
	EventSource     string
	Username        string `json:",omitempty"`
	Resources       []lookedUpResource
	CloudTrailEvent string
}

type lookedUpResource struct{ ResourceType, ResourceName string }

func (w *World) lookupEvents(r *http.Request, body []byte, now time.Time) (*lookupOutput, *kmsError) {
	scope := trailScope.FindStringSubmatch(r.Header.Get("Authorization"))
	if scope == nil {
		return nil, refused("MissingAuthenticationTokenException", "Request is missing Authentication Token")
	}
	if _, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), trailTarget); operation != "LookupEvents" {
		return nil, refused("UnknownOperationException", "Operation %s is unknown here.", operation)
	}
	var input lookupInput
	if json.Unmarshal(body, &input) != nil {
		return nil, refused("SerializationException", "The request body is not a JSON object of the expected types.")
	}
	account, region := w.aws.caller(scope[1]).account, scope[2]
	if !w.mayLookUp(account+"/"+region, now) {
		return nil, refused("ThrottlingException", "Rate exceeded")
	}
	most := mostEvents
	if input.MaxResults != nil {
		most = *input.MaxResults
	}
	first, err := tokenOf(input.NextToken)
	switch {
	case most < 1 || most > mostEvents:
		return nil, refused("InvalidMaxResultsException", "MaxResults must be between 1 and %d.", mostEvents)
	case err != nil:
		return nil, refused("InvalidNextTokenException", "Invalid NextToken.")
	case len(input.LookupAttributes) > 1:
		return nil, refused("InvalidLookupAttributesException", "You can only specify one lookup attribute.")
	}
	from, to := now.Add(-trailHistory), now
	if input.StartTime != nil && timeOf(*input.StartTime).After(from) {
		from = timeOf(*input.StartTime)
	}
	if input.EndTime != nil && timeOf(*input.EndTime).Before(to) {
		to = timeOf(*input.EndTime)
	}
	if to.Before(from) {
		return nil, refused("InvalidTimeRangeException", "The start time must be before the end time.")
	}
	output, skip := &lookupOutput{Events: []lookedUpEvent{}}, first
	for _, e := range slices.Backward(w.trail.all) { // the newest first
		if e.RecipientAccountID != account || e.AWSRegion != region || e.shownFrom.After(now) || e.at.Truncate(time.Second).Before(from.Truncate(time.Second)) || e.at.After(to) {
			continue
		}
		if len(input.LookupAttributes) == 1 && !e.has(input.LookupAttributes[0].AttributeKey, input.LookupAttributes[0].AttributeValue) {
			continue
		}
		if skip > 0 {
			skip--
			continue
		}
		if len(output.Events) == most {
			output.NextToken = tokenFor(first + most)
			break
		}
		output.Events = append(output.Events, e.lookedUp())
	}
	return output, nil
}

// mayLookUp counts the requests of an account in a Region: two a second.
func (w *World) mayLookUp(place string, now time.Time) bool {
	if w.trail.lookups == nil {
		w.trail.lookups = map[string][]time.Time{}
	}
	last := slices.DeleteFunc(w.trail.lookups[place], func(at time.Time) bool { return now.Sub(at) >= time.Second })
	w.trail.lookups[place] = last
	if len(last) >= 2 {
		return false
	}
	w.trail.lookups[place] = append(last, now)
	return true
}

// has reports whether the event has the value for a lookup attribute. Those that nothing here has find nothing.
func (e recordedEvent) has(attribute, value string) bool {
	switch attribute {
	case "EventId":
		return e.EventID == value
	case "EventName":
		return e.EventName == value
	case "EventSource":
		return e.EventSource == value
	case "ReadOnly":
		return strconv.FormatBool(e.ReadOnly) == value
	case "ResourceName":
		return slices.ContainsFunc(e.Resources, func(r trailResource) bool { return r.ARN == value })
	}
	return false
}

func (e recordedEvent) lookedUp() lookedUpEvent {
	resources := []lookedUpResource{}
	for _, r := range e.Resources {
		resources = append(resources, lookedUpResource{r.Type, r.ARN})
	}
	return lookedUpEvent{e.EventID, e.EventName, strconv.FormatBool(e.ReadOnly), epoch{e.at}, e.EventSource, e.UserIdentity.UserName, resources,
		string(toJSON(e.trailRecord))}
}

func timeOf(seconds float64) time.Time { return time.UnixMilli(int64(seconds * 1000)).UTC() }

func tokenFor(n int) string {
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "event %d", n))
}

func tokenOf(token string) (n int, err error) {
	if token == "" {
		return 0, nil
	}
	text, err := base64.StdEncoding.DecodeString(token)
	if err == nil {
		_, err = fmt.Sscanf(string(text), "event %d", &n)
	}
	return n, err
}

// useAWSKey leaves the record of a use of the key by a cluster, which acts as the principal. Which operation a cluster calls when its store
// key is encrypted is not documented.
func (w *World) useAWSKey(k *awsKey, principal cmek.Principal, operation, material, source string, now time.Time) {
	record := trailRecordOf(derivedUUID("event", k.arn, operation, now.String()), k.account, k.region, operation, now)
	record.EventType, record.ReadOnly, record.SourceIPAddress, record.UserAgent = "AwsApiCall", true, "192.0.2.20", "cockroach"
	record.RequestID = derivedUUID("request", k.arn, now.String())
	record.UserIdentity = trailIdentity{
		Type: "AssumedRole", PrincipalID: "AROACLUSTERCLUSTERCLU:cockroach", AccountID: principal.Account(),
		ARN:            "arn:" + k.partition() + ":sts::" + principal.Account() + ":assumed-role/" + principal.Name() + "/cockroach",
		SessionContext: &trailSession{trailIssuer{"Role", "AROACLUSTERCLUSTERCLU", string(principal), principal.Account(), principal.Name()}},
	}
	record.Resources = k.trailResources()
	if w.is(KMSMaterialID, "present") {
		record.AdditionalData = map[string]string{"keyMaterialId": material}
		if operation == "ReEncrypt" {
			record.Resources = append(k.trailResources(), k.trailResources()...)
			record.AdditionalData = map[string]string{"sourceKeyMaterialId": source, "destinationKeyMaterialId": material}
		}
	}
	k.lastUse = &keyUse{operation, epoch{now}, record.EventID, record.RequestID}
	w.note(record, now)
}

// Use lets a cluster use its key in a region, as its nodes do when they start ("Decrypt", of the store key) or as a restore does of what was
// encrypted earlier: under the material or the version, "" for that of the store key. The cluster is named by id or name.
func (w *World) Use(cluster, region, operation, material string) error {
	now := w.enter()
	defer w.mu.Unlock()
	c, err := w.clusters.find(cluster)
	if err != nil {
		return err
	}
	r := c.region(region)
	if r == nil {
		return fmt.Errorf("cluster %q has no region %q", cluster, region)
	}
	if material == "" {
		material = r.storeKey.material
	}
	k := w.aws.byARN[string(r.storeKey.spec.URI)]
	switch {
	case k == nil && r.storeKey.spec.Type == cmek.GCPCloudKMS:
		w.logClusterUse(c, r.storeKey.spec, operation, material, now)
		return nil
	case k == nil:
		return fmt.Errorf("region %q of cluster %q has no key of AWS KMS or Cloud KMS", region, cluster)
	}
	w.useAWSKey(k, r.storeKey.spec.AuthPrincipal, operation, material, material, now)
	return nil
}
