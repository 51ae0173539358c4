package amazon

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/keyturn/keyturn/internal/cmek"
)

// SecurityHub reports findings to Security Hub of our own account and Region, under the product that every account has for its own. The
// call is made here without the SDK's client, whose types of 400 kinds of resources would double the function for one request.
type SecurityHub struct {
	config  Config
	account string // asked for once
	arn     string
}

// SecurityHubActions are the actions that it needs, on the default product of the account.
const SecurityHubActions = "securityhub:BatchImportFindings"

// NewSecurityHub returns a reporter.
func NewSecurityHub(config Config) *SecurityHub { return &SecurityHub{config: config} }

// The limits of docs.aws.amazon.com/securityhub/1.0/APIReference/API_BatchImportFindings.html, and of the texts of
// docs.aws.amazon.com/securityhub/latest/userguide/asff-required-attributes.html and asff-top-level-attributes.html.
const (
	mostFindings     = 100
	largestFinding   = 240_000
	longestTitle     = 256
	longestText      = 1024
	longestAdvice    = 512
	longestID        = 512
	mostRequirements = 32
)

// asff is a finding in the AWS Security Finding Format. Severity and Types of a provider are in FindingProviderFields: what stands at the top
// is the customer's.
type asff struct {
	SchemaVersion                                         string
	ID                                                    string `json:"Id"`
	ProductARN                                            string `json:"ProductArn"`
	GeneratorID                                           string `json:"GeneratorId"`
	AwsAccountID                                          string `json:"AwsAccountId"`
	CreatedAt, UpdatedAt, FirstObservedAt, LastObservedAt string
	Title, Description                                    string
	Resources                                             []asffResource
	Remediation                                           *asffRemediation `json:",omitempty"`
	Compliance                                            asffCompliance
	RecordState                                           string
	FindingProviderFields                                 asffProvider
}

type (
	asffResource struct {
		Type      string
		ID        string `json:"Id"`
		Partition string
		Region    string `json:",omitempty"`
	}
	asffCompliance struct {
		Status              string
		RelatedRequirements []string `json:",omitempty"`
	}
	asffProvider struct {
		Severity struct{ Label, Original string }
		Types    []string
	}
	asffRemediation struct {
		Recommendation struct{ Text string }
	}
)

// checkType is the finding type of checks of configurations
// (docs.aws.amazon.com/securityhub/latest/userguide/asff-type-taxonomy.html).
const checkType = "Software and Configuration Checks/Industry and Regulatory Standards"

// Import reports the findings in batches of 100 and returns those that were not taken. After an error nothing is known of the batch that it
// is about, nor of those after it.
func (s *SecurityHub) Import(ctx context.Context, findings []cmek.SecurityFinding) (rejected []cmek.RejectedFinding, err error) {
	if s.account == "" && len(findings) > 0 {
		who, err := WhoAmI(ctx, s.config)
		if err != nil {
			return nil, err
		}
		s.account, s.arn = who.Account, who.ARN
	}
	var batch []json.RawMessage
	ids := map[string]string{} // as they were given, by what was sent
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		failed, err := s.send(ctx, batch)
		for _, f := range failed {
			f.ID = ids[f.ID]
			rejected = append(rejected, f)
		}
		batch = nil
		return err
	}
	for _, f := range findings {
		formatted := s.format(f)
		data, err := json.Marshal(formatted)
		if err == nil && len(data) > largestFinding {
			err = fmt.Errorf("it has %d bytes, and at most %d are taken", len(data), largestFinding)
		}
		if err != nil {
			rejected = append(rejected, cmek.RejectedFinding{ID: f.ID, Code: "TooLarge", Why: err.Error()})
			continue
		}
		ids[formatted.ID] = f.ID
		if batch = append(batch, data); len(batch) == mostFindings {
			if err := flush(); err != nil {
				return rejected, err
			}
		}
	}
	return rejected, flush()
}

// format is the finding in the format of Security Hub.
func (s *SecurityHub) format(f cmek.SecurityFinding) asff {
	partition := partitionOf(s.arn)
	at := func(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }
	a := asff{
		SchemaVersion: "2018-10-08", ID: shortID(f.ID), ProductARN: "arn:" + partition + ":securityhub:" + s.config.Region + ":" + s.account + ":product/" + s.account + "/default",
		GeneratorID: "keyturn/" + f.Check, AwsAccountID: s.account, CreatedAt: at(f.Since), FirstObservedAt: at(f.Since), UpdatedAt: at(f.Updated), LastObservedAt: at(f.Updated),
		Title: atMost(longestTitle, f.Title), Description: atMost(longestText, f.Description),
		Resources:  []asffResource{{Type: "Other", ID: shortID(f.Resource), Partition: partition}},
		Compliance: asffCompliance{"PASSED", f.Requirements[:min(len(f.Requirements), mostRequirements)]}, RecordState: "ACTIVE",
	}
	if parts := strings.Split(f.Resource, ":"); len(parts) > 5 && parts[0] == "arn" {
		a.Resources[0].Region = parts[3]
		if parts[2] == "kms" {
			a.Resources[0].Type = "AwsKmsKey"
		} else if parts[2] == "iam" && strings.HasPrefix(parts[5], "role/") {
			a.Resources[0].Type = "AwsIamRole"
		}
	}
	switch {
	case f.Gone:
		a.Compliance.Status, a.RecordState = "NOT_AVAILABLE", "ARCHIVED"
	case f.Failed:
		a.Compliance.Status = "FAILED"
	}
	if f.Recommendation != "" {
		a.Remediation = &asffRemediation{}
		a.Remediation.Recommendation.Text = atMost(longestAdvice, f.Recommendation)
	}
	a.FindingProviderFields.Types = []string{checkType}
	a.FindingProviderFields.Severity.Label, a.FindingProviderFields.Severity.Original = strings.ToUpper(f.Severity), f.Severity
	return a
}

// shortID is the id, or where it is too long its beginning with its hash.
func shortID(id string) string {
	if len(id) <= longestID {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return atMost(longestID-70, id) + "/" + hex.EncodeToString(sum[:])
}

// atMost is the text with at most so many characters.
func atMost(most int, text string) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}

// partitionOf is the partition of an ARN; that of most Regions if it does not say.
func partitionOf(arn string) string {
	if parts := strings.SplitN(arn, ":", 3); len(parts) == 3 && parts[1] != "" {
		return parts[1]
	}
	return "aws"
}

// hubAttempts is how often a batch is sent that the service had no time for.
const hubAttempts = 3

// send reports a batch. A finding that is reported twice is one, so a batch may be sent again.
func (s *SecurityHub) send(ctx context.Context, batch []json.RawMessage) ([]cmek.RejectedFinding, error) {
	const doing = "report findings to Security Hub"
	body, err := json.Marshal(map[string]any{"Findings": batch})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", doing, err)
	}
	for attempt := 1; ; attempt++ {
		status, answer, err := s.post(ctx, body)
		retry := err != nil || status == http.StatusTooManyRequests || status >= http.StatusInternalServerError
		if retry && attempt < hubAttempts && ctx.Err() == nil {
			if err := sleep(ctx, time.Duration(attempt)*time.Second); err != nil {
				return nil, fmt.Errorf("%s: %w", doing, err)
			}
			continue
		}
		switch {
		case err != nil:
			return nil, fmt.Errorf("%s: %w", doing, err)
		case status == http.StatusForbidden:
			return nil, &cmek.PermissionError{Permission: SecurityHubActions + " in account " + s.account, Err: fmt.Errorf("%s: %w: %s", doing, cmek.ErrDenied, refusalIn(answer))}
		case status != http.StatusOK:
			return nil, fmt.Errorf("%s: %d %s", doing, status, refusalIn(answer))
		}
		return takenOf(answer, len(batch), doing)
	}
}

// takenOf reads what was not taken. An answer that does not account for every finding is none.
func takenOf(answer []byte, sent int, doing string) (rejected []cmek.RejectedFinding, err error) {
	var out struct {
		FailedCount, SuccessCount *int
		FailedFindings            []struct {
			ID                      string `json:"Id"`
			ErrorCode, ErrorMessage string
		}
	}
	switch err := json.Unmarshal(answer, &out); {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", doing, err)
	case out.FailedCount == nil || out.SuccessCount == nil || *out.FailedCount+*out.SuccessCount != sent || *out.FailedCount != len(out.FailedFindings):
		return nil, fmt.Errorf("%s: %w: it does not account for %d findings", doing, cmek.ErrIncomplete, sent)
	}
	for _, f := range out.FailedFindings {
		rejected = append(rejected, cmek.RejectedFinding{ID: f.ID, Code: f.ErrorCode, Why: f.ErrorMessage})
	}
	return rejected, nil
}

// refusalIn is what a refusal says, in few words.
func refusalIn(answer []byte) string {
	var refusal struct{ Code, Message string }
	if json.Unmarshal(answer, &refusal) != nil {
		return "without a reason"
	}
	return strings.TrimPrefix(atMost(longestText, refusal.Code+": "+refusal.Message), ": ")
}

// post sends a request (docs.aws.amazon.com/securityhub/1.0/APIReference/API_BatchImportFindings.html).
func (s *SecurityHub) post(ctx context.Context, body []byte) (status int, answer []byte, err error) {
	endpoint, err := s.endpoint(ctx)
	if err != nil {
		return 0, nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint+"/findings/import", bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	credentials, err := s.config.Credentials.Retrieve(ctx)
	if err != nil {
		return 0, nil, err
	}
	sum := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(ctx, credentials, request, hex.EncodeToString(sum[:]), "securityhub", s.config.Region, time.Now()); err != nil {
		return 0, nil, err
	}
	response, err := s.config.HTTPClient.Do(request)
	if err != nil {
		return 0, nil, err
	}
	const most = 1 << 20
	answer, err = io.ReadAll(io.LimitReader(response.Body, most))
	return response.StatusCode, answer, errors.Join(err, response.Body.Close())
}

// endpoint is the service's address, or that of an emulator.
func (s *SecurityHub) endpoint(ctx context.Context) (string, error) {
	for _, source := range s.config.ConfigSources {
		own, ok := source.(interface {
			GetServiceBaseEndpoint(ctx context.Context, sdkID string) (string, bool, error)
		})
		if !ok {
			continue
		}
		if endpoint, found, err := own.GetServiceBaseEndpoint(ctx, "SecurityHub"); err != nil || found {
			return strings.TrimSuffix(endpoint, "/"), err
		}
	}
	if s.config.BaseEndpoint != nil {
		return strings.TrimSuffix(aws.ToString(s.config.BaseEndpoint), "/"), nil
	}
	suffix := "amazonaws.com"
	if partitionOf(s.arn) == "aws-cn" {
		suffix = "amazonaws.com.cn"
	}
	return "https://securityhub." + s.config.Region + "." + suffix, nil
}
