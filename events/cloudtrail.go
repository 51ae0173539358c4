package events

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/cmek"
)

// record is a CloudTrail record
// (docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html).
type record struct {
	recordHead
	EventVersion       string    `json:"eventVersion"`
	EventTime          string    `json:"eventTime"`
	EventID            string    `json:"eventID"`
	AWSRegion          string    `json:"awsRegion"`
	SourceIPAddress    string    `json:"sourceIPAddress"`
	RecipientAccountID string    `json:"recipientAccountId"`
	ErrorCode          string    `json:"errorCode"`
	ErrorMessage       string    `json:"errorMessage"`
	UserIdentity       identity  `json:"userIdentity"`
	Resources          resources `json:"resources"`
	Addendum           struct {
		OriginalEventID string `json:"originalEventID"`
	} `json:"addendum"`
	// Their fields depend on the call.
	RequestParameters   object `json:"requestParameters"`
	ResponseElements    object `json:"responseElements"`
	ServiceEventDetails object `json:"serviceEventDetails"`
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
	Type        string `json:"type"`
	ARN         string `json:"arn"`
	AccountID   string `json:"accountId"`
	PrincipalID string `json:"principalId"`
	InvokedBy   string `json:"invokedBy"`
	OnBehalfOf  struct {
		UserID string `json:"userId"`
	} `json:"onBehalfOf"`
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
		return cmp.Or(i.ARN, i.InvokedBy, i.identityCenterUser(), i.AccountID, i.PrincipalID)
	case i.Type != "":
		return cmp.Or(i.ARN, i.AccountID, i.PrincipalID)
	}
	return i.ARN
}

// account is the account that the caller belongs to; "" if AWS itself made the call, or if it is not in the record.
func (i identity) account() string {
	if i.Type == "AWSService" || i.Type == "" && i.ARN == "" && i.InvokedBy != "" {
		return ""
	}
	if isAccountID(i.AccountID) {
		return i.AccountID
	}
	if parts := strings.SplitN(i.ARN, ":", 6); len(parts) == 6 && isAccountID(parts[4]) {
		return parts[4]
	}
	return ""
}

// check makes sure that the notice carries a CloudTrail record of the type and service that its envelope announces.
// CloudTrail adds fields under a new minor version; only a new major version may change their meaning.
func (r *record) check(row Row) error {
	// Whoever selects fields leaves it out.
	if major, _, _ := strings.Cut(r.EventVersion, "."); major != "1" && r.EventVersion != "" {
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

// recordHead decides whether a record is for us.
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

// describe fills in what a record of any service holds.
func (r *record) describe(e *cmek.Event, facts []fact) {
	e.ID = r.EventID
	e.Amends = r.Addendum.OriginalEventID
	e.Account = cmp.Or(r.RecipientAccountID, e.Account, r.UserIdentity.AccountID)
	e.Region = cmp.Or(r.AWSRegion, e.Region)
	if r.EventTime != "" {
		e.Time = instant(r.EventTime)
	}
	e.Principal, e.Caller = bounded(r.UserIdentity.principal()), r.UserIdentity.account()
	e.Issuer = cmek.Principal(bounded(r.UserIdentity.SessionContext.SessionIssuer.ARN))
	e.Error, e.Failure = bounded(cmp.Or(r.ErrorCode, r.ErrorMessage)), r.failure()

	req := r.RequestParameters
	// CloudTrail puts {"reason": "requestParameters too large", "omitted": true} in place of what is too large for it
	// (docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html).
	if req.text("omitted") == "true" && req.text("reason") != "" {
		setParameter(e, "omitted", "true")
	}
	e.Policy = cmp.Or(req.text("policy"), req.text("policyDocument"), req.text("content"))
	parts := [...]object{request: req, response: r.ResponseElements, service: r.ServiceEventDetails}
	for _, f := range facts {
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

// accountOfRecord reads calls about an account. The organization records them in its management account; an account that
// leaves records that itself.
func accountOfRecord(n *notice, e *cmek.Event) error {
	r := &n.Detail.record
	target := e.Parameters["target"]
	for _, resource := range r.Resources {
		if arn := resource.arn(); target == "" && strings.Contains(arn, ":organizations:") {
			target = arn[strings.LastIndexByte(arn, '/')+1:]
		}
	}
	if isAccountID(target) {
		e.Account = target
	}
	return nil
}

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

// roleOfRecord reads calls about a role. IAM's records list no resources and name the role without its account; a call that was
// denied may name the role in its error message alone.
func roleOfRecord(n *notice, e *cmek.Event) error {
	r := &n.Detail.record
	names := []string{r.RequestParameters.text("roleName"), r.RequestParameters.text("roleArn")}
	for _, resource := range r.Resources {
		if resource.Type == "AWS::IAM::Role" {
			names = append(names, resource.arn())
		}
	}
	names = append(names, refusedRole(r.ErrorMessage))
	for _, name := range names {
		if isRoleName(name) && isAccountID(e.Account) {
			name = "arn:" + r.partition() + ":iam::" + e.Account + ":role/" + name
		}
		role := cmek.Principal(bounded(name))
		if role.IsRole() {
			e.Identity, e.Account = role, role.Account()
			return nil
		}
		e.Identity = cmp.Or(e.Identity, role)
	}
	return nil
}

// roleChange reads calls that change a role.
func roleChange(n *notice, e *cmek.Event) error {
	return cmp.Or(roleOfRecord(n, e), serviceOfRecord(n, e))
}

// refusedRole is the role, by ARN or by name, that a call was denied on. Callers choose parts of the message before that.
func refusedRole(message string) string {
	_, on, _ := strings.Cut(message, onResource)
	for name := range strings.FieldsFuncSeq(strings.TrimPrefix(on, "role "), func(r rune) bool { return !strings.ContainsRune(roleRunes+":/", r) }) {
		name = strings.TrimRight(name, ".,:")
		if strings.HasPrefix(on, "role ") || cmek.Principal(name).IsRole() {
			return name
		}
		return ""
	}
	return ""
}

// onResource precedes, in the message of a call that was denied, what it was denied on.
const onResource = " on resource: "

// partition is the ARN partition of the place where the record was made.
func (r *record) partition() string {
	for _, arn := range []string{r.UserIdentity.ARN, r.UserIdentity.SessionContext.SessionIssuer.ARN} {
		if parts := strings.SplitN(arn, ":", 3); len(parts) == 3 && parts[0] == "arn" && slices.Contains(partitions, parts[1]) {
			return parts[1]
		}
	}
	return partition(r.AWSRegion)
}

// isRoleName reports whether IAM would take s for the name of a role
// (docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html).
func isRoleName(s string) bool { return s != "" && len(s) <= 64 && strings.Trim(s, roleRunes) == "" }

func isAccountID(s string) bool { return len(s) == 12 && strings.Trim(s, digits) == "" }
