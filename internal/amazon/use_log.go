package amazon

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	cttypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"

	"github.com/keyturn/keyturn/internal/cmek"
)

// UseLog reads uses of keys from CloudTrail's event history, which every account has for 90 days, with a trail or without. It acts as the
// reader role of the key's account. It is safe for concurrent use.
type UseLog struct {
	kms *KMS

	mu        sync.Mutex
	byAccount map[string]*cloudtrail.Client
	// next is when the next request may leave.
	next time.Time
}

// UseLogActions are the actions that it needs. They have no resource to name.
const UseLogActions = "cloudtrail:LookupEvents"

// "Limited to two per second, per account, per Region" (docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupEvents.html). One
// pace for all of them leaves room for people's own.
const lookupPace = 600 * time.Millisecond

// mostLookupPages bounds what is read of one key, with 50 records on a page.
const mostLookupPages = 20

// NewUseLog returns a reader of uses. roles may be nil.
func NewUseLog(config Config, roles ReaderRoles) *UseLog {
	return &UseLog{kms: NewKMS(config, roles), byAccount: map[string]*cloudtrail.Client{}}
}

// RecordedUses reads the successful cryptographic operations with the key from the time on. Records come minutes after the calls, so that
// one that is not among them may still come.
func (u *UseLog) RecordedUses(ctx context.Context, uri cmek.KeyURI, since time.Time) (uses cmek.RecordedUses, err error) {
	doing := fmt.Sprintf("look up uses of key %s", uri)
	pages := cloudtrail.NewLookupEventsPaginator(u.client(uri.Account()), &cloudtrail.LookupEventsInput{
		LookupAttributes: []cttypes.LookupAttribute{{AttributeKey: cttypes.LookupAttributeKeyResourceName, AttributeValue: aws.String(string(uri))}},
		StartTime:        aws.Time(since), MaxResults: aws.Int32(50),
	})
	for page := 0; pages.HasMorePages(); page++ {
		if page == mostLookupPages {
			uses.Cut = true
			return uses, nil
		}
		if err := u.wait(ctx); err != nil {
			return uses, fmt.Errorf("%s: %w", doing, err)
		}
		out, err := pages.NextPage(ctx, func(o *cloudtrail.Options) { o.Region = uri.Location() })
		if err != nil {
			failed := explain(err, doing)
			if errorCode(err) != "" {
				failed = refusal{failed, UseLogActions + ": " + reason(err)}
			}
			return uses, permissionError(failed, UseLogActions+" in account "+uri.Account())
		}
		for _, event := range out.Events {
			use, ok, err := parseUse(aws.ToString(event.CloudTrailEvent), uri)
			switch {
			case err != nil:
				uses.Cut = true // it may be any use
			case ok:
				uses.Uses = append(uses.Uses, use)
			}
		}
	}
	return uses, nil
}

// wait keeps the pace.
func (u *UseLog) wait(ctx context.Context) error {
	u.mu.Lock()
	at := u.next
	if now := time.Now(); at.Before(now) {
		at = now
	}
	u.next = at.Add(lookupPace)
	u.mu.Unlock()
	return sleep(ctx, time.Until(at))
}

func (u *UseLog) client(account string) *cloudtrail.Client {
	u.mu.Lock()
	defer u.mu.Unlock()
	client, ok := u.byAccount[account]
	if !ok {
		credentials := u.kms.credentials(account)
		client = cloudtrail.NewFromConfig(u.kms.config, func(o *cloudtrail.Options) {
			if credentials != nil {
				o.Credentials = credentials
			}
		})
		u.byAccount[account] = client
	}
	return client
}

// useRecord is what a record of a use is read for
// (docs.aws.amazon.com/kms/latest/developerguide/ct-encrypt.html, ct-decrypt.html, ct-reencrypt.html).
type useRecord struct {
	EventID     string    `json:"eventID"`
	EventTime   time.Time `json:"eventTime"`
	EventSource string    `json:"eventSource"`
	EventName   string    `json:"eventName"`
	ErrorCode   string    `json:"errorCode"`

	UserIdentity struct {
		ARN            string `json:"arn"`
		SessionContext struct {
			SessionIssuer struct {
				Type string `json:"type"`
				ARN  string `json:"arn"`
			} `json:"sessionIssuer"`
		} `json:"sessionContext"`
	} `json:"userIdentity"`
	Resources []struct {
		ARN string `json:"ARN"`
	} `json:"resources"`
	AdditionalEventData struct {
		Material    string `json:"keyMaterialId"`
		Source      string `json:"sourceKeyMaterialId"`
		Destination string `json:"destinationKeyMaterialId"`
	} `json:"additionalEventData"`
}

// parseUse reads a record; ok is false if it is of no successful use of the key.
func parseUse(text string, uri cmek.KeyURI) (use cmek.RecordedUse, ok bool, err error) {
	var r useRecord
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return use, false, fmt.Errorf("read record of CloudTrail: %w", err)
	}
	if r.EventSource != "kms.amazonaws.com" || r.ErrorCode != "" {
		return use, false, nil
	}
	use = cmek.RecordedUse{Event: r.EventID, At: r.EventTime, Operation: r.EventName, By: cmek.Principal(r.UserIdentity.ARN)}
	if issuer := r.UserIdentity.SessionContext.SessionIssuer; issuer.Type == "Role" {
		use.By = cmek.Principal(issuer.ARN) // with the role's path, which a session's ARN leaves out
	} else if role := cmek.SessionRole(r.UserIdentity.ARN); role != "" {
		use.By = role
	}
	material := cmek.MaterialVersion(r.AdditionalEventData.Material)
	switch name := r.EventName; {
	case name == "Encrypt", strings.HasPrefix(name, "GenerateDataKey"):
		use.Encrypted = material
	case name == "Decrypt":
		use.Decrypted = material
	case name == "ReEncrypt": // the source is named first, then the destination
		if len(r.Resources) > 0 && r.Resources[0].ARN == string(uri) {
			use.Decrypted = cmek.MaterialVersion(r.AdditionalEventData.Source)
		}
		if n := len(r.Resources); n > 0 && r.Resources[n-1].ARN == string(uri) {
			use.Encrypted = cmek.MaterialVersion(r.AdditionalEventData.Destination)
		}
	default:
		return use, false, nil
	}
	if use.Event == "" || use.At.IsZero() {
		return use, false, fmt.Errorf("record of CloudTrail: %w: no eventID or eventTime", cmek.ErrIncomplete)
	}
	return use, true, nil
}
