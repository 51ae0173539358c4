package events

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/keyturn/keyturn/internal/cmek"
)

// record is a CloudTrail record
// (docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html).
type record struct {
	recordHead
	EventVersion       string     `json:"eventVersion"`
	EventTime          string     `json:"eventTime"`
	EventID            string     `json:"eventID"`
	AWSRegion          string     `json:"awsRegion"`
	SourceIPAddress    string     `json:"sourceIPAddress"`
	RecipientAccountID string     `json:"recipientAccountId"`
	ErrorCode          string     `json:"errorCode"`
	ErrorMessage       string     `json:"errorMessage"`
	UserIdentity       identity   `json:"userIdentity"`
	Resources          []resource `json:"resources"`
	Addendum           struct {
		OriginalEventID string `json:"originalEventID"`
	} `json:"addendum"`
	// Their fields depend on the call.
	RequestParameters   object `json:"requestParameters"`
	ResponseElements    object `json:"responseElements"`
	ServiceEventDetails object `json:"serviceEventDetails"`
	AdditionalEventData object `json:"additionalEventData"`
}

// resource is something that a CloudTrail record concerns. AWS writes ARN; tools that normalise records write arn.
type resource struct {
	Type       string `json:"type"`
	ARN        string `json:"ARN"`
	Normalised string `json:"arn"`
}

func (r resource) arn() string { return cmp.Or(r.ARN, r.Normalised) }

// identity is who made a call
// (docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html).
type identity struct {
	Type           string `json:"type"`
	ARN            string `json:"arn"`
	AccountID      string `json:"accountId"`
	PrincipalID    string `json:"principalId"`
	InvokedBy      string `json:"invokedBy"`
	SessionContext struct {
		SessionIssuer struct {
			ARN string `json:"arn"`
		} `json:"sessionIssuer"`
	} `json:"sessionContext"`
}

// principal is the best name of who made the call: the ARN, the service, the other account; "" for AWS itself.
func (i identity) principal() string {
	const itself = "AWS Internal"
	switch {
	case i.InvokedBy != itself:
		return cmp.Or(i.ARN, i.InvokedBy, i.AccountID, i.PrincipalID)
	case i.Type != "":
		return cmp.Or(i.ARN, i.AccountID, i.PrincipalID)
	}
	return i.ARN
}

// check makes sure that the notice carries a CloudTrail record of the type and service that its envelope announces.
// CloudTrail adds fields under a new minor version; only a new major version may change their meaning.
func (r *record) check(row Row) error {
	if major, _, _ := strings.Cut(r.EventVersion, "."); major != "1" {
		return fmt.Errorf("detail.eventVersion %q: unknown version, want 1.x", clip(r.EventVersion))
	}
	got := r.selector()
	if got.source != row.Source {
		return fmt.Errorf("detail.eventSource %q: does not belong to %s", clip(r.EventSource), row.Source)
	}
	if got.detailType != row.DetailType {
		return fmt.Errorf("detail.eventType %q: does not belong to %q", clip(r.EventType), row.DetailType)
	}
	return nil
}

// recordHead is what tells whether a record is for us.
type recordHead struct {
	EventSource string `json:"eventSource"`
	EventName   string `json:"eventName"`
	EventType   string `json:"eventType"`
}

// selector is what EventBridge makes of the record in its envelope.
func (r recordHead) selector() selector {
	return selector{"aws." + strings.TrimSuffix(r.EventSource, awsDomain), detailTypes[r.EventType], r.EventName}
}

// awsDomain ends the names of services as CloudTrail writes them: kms.amazonaws.com is EventBridge's aws.kms.
const awsDomain = ".amazonaws.com"

// detailTypes maps a record's eventType to the detail type under which EventBridge delivers it. The oldest records have no
// eventType.
var detailTypes = map[string]string{"": apiCall, "AwsApiCall": apiCall, "AwsServiceEvent": serviceEvent}

// describe fills in what a record of any service tells.
func (r *record) describe(e *cmek.Event, source string) {
	e.ID = r.EventID
	e.Amends = r.Addendum.OriginalEventID
	e.Account = cmp.Or(r.RecipientAccountID, e.Account, r.UserIdentity.AccountID)
	e.Region = cmp.Or(r.AWSRegion, e.Region)
	if r.EventTime != "" {
		e.Time = instant(r.EventTime)
	}
	e.Principal = bounded(r.UserIdentity.principal())
	e.Issuer = bounded(r.UserIdentity.SessionContext.SessionIssuer.ARN)
	e.Error = bounded(cmp.Or(r.ErrorCode, r.ErrorMessage))

	req := r.RequestParameters
	e.Policy = cmp.Or(req.text("policy"), req.text("policyDocument"), req.text("content"))
	parts := [...]object{request: req, response: r.ResponseElements, service: r.ServiceEventDetails, additional: r.AdditionalEventData}
	for _, f := range facts[source] {
		if e.Parameters[f.word] == "" {
			setParameter(e, f.word, parts[f.part].text(f.field))
		}
	}
}

func setParameter(e *cmek.Event, word, text string) {
	if text == "" {
		return
	}
	if e.Parameters == nil {
		e.Parameters = map[string]string{}
	}
	e.Parameters[word] = bounded(text)
}

// nothingMore is the reader of records about what stands above keys and roles.
func nothingMore(*notice, *cmek.Event) error { return nil }

// serviceOfRecord reads which service of AWS made a call for somebody: CloudTrail then gives its name in place of an address.
func serviceOfRecord(n *notice, e *cmek.Event) error {
	r := &n.Detail.record
	for _, name := range []string{r.SourceIPAddress, r.UserIdentity.InvokedBy} {
		if strings.HasSuffix(name, awsDomain) {
			setParameter(e, "via", name)
			break
		}
	}
	return nil
}

// roleOfRecord reads calls about a role. IAM's records list no resources; a call that was denied may name the role in its
// error message alone.
func roleOfRecord(n *notice, e *cmek.Event) error {
	r := &n.Detail.record
	names := []string{r.RequestParameters.text("roleName"), r.RequestParameters.text("roleArn")}
	for _, resource := range r.Resources {
		if resource.Type == "AWS::IAM::Role" {
			names = append(names, resource.arn())
		}
	}
	for arn := range arnsIn(r.ErrorMessage) {
		if strings.Contains(arn, ":role/") {
			names = append(names, arn)
		}
	}
	e.Role = bounded(cmp.Or(names...))
	return nil
}
