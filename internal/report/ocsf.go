package report

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/alert"
)

// The numbers of OCSF 1.8.0. The published JSON Schema has bare integers; their names are in github.com/ocsf/ocsf-schema: categories.json
// (findings is 2), events/findings/compliance_finding.json (class 3 of the category, so 2003), events/findings/finding.json (activity_id 1
// Create; status_id 1 New, 3 Suppressed). An event's type is its class times 100 plus its activity.
const (
	ocsfVersion    = "1.8.0"
	ocsfFindings   = 2
	ocsfCompliance = 2003
	ocsfCreate     = 1
	ocsfNew        = 1
	ocsfSuppressed = 3
)

// ocsfResults are compliance.status_id: 1 Pass and 3 Fail of objects/compliance.json, 0 Unknown and 99 Other of every status_id in
// dictionary.json. 2 Warning is never used. With 99, status holds our own word.
var ocsfResults = map[checks.Result]struct {
	id   int
	name string
}{checks.Pass: {1, "Pass"}, checks.Fail: {3, "Fail"}, checks.Error: {0, "Unknown"}, checks.NotApplicable: {99, "Not applicable"}}

// ocsfSeverities are severity_id of dictionary.json: 1 Informational, 2 Low, 3 Medium, 4 High, 5 Critical.
var ocsfSeverities = map[alert.Severity]int{alert.None: 1, alert.Info: 1, alert.Low: 2, alert.Medium: 3, alert.High: 4, alert.Critical: 5}

type ocsfEvent struct {
	ActivityID  int              `json:"activity_id"`
	CategoryUID int              `json:"category_uid"`
	ClassUID    int              `json:"class_uid"`
	TypeUID     int              `json:"type_uid"`
	SeverityID  int              `json:"severity_id"`
	StatusID    int              `json:"status_id,omitempty"`
	Time        int64            `json:"time"`
	Message     string           `json:"message"`
	Metadata    ocsfMetadata     `json:"metadata"`
	Cloud       ocsfCloud        `json:"cloud"`
	FindingInfo ocsfFindingInfo  `json:"finding_info"`
	Compliance  ocsfStatus       `json:"compliance"`
	Resources   []ocsfResource   `json:"resources"`
	Remediation *ocsfRemediation `json:"remediation,omitempty"`
	// Unmapped is what the class has no attribute for.
	Unmapped map[string]string `json:"unmapped,omitempty"`
}

type ocsfMetadata struct {
	Version  string      `json:"version"`
	Profiles []string    `json:"profiles"`
	Product  ocsfProduct `json:"product"`
}

type ocsfProduct struct {
	Name       string `json:"name"`
	VendorName string `json:"vendor_name"`
	Version    string `json:"version"`
}

type ocsfCloud struct {
	Provider string       `json:"provider"`
	Region   string       `json:"region,omitempty"`
	Account  *ocsfAccount `json:"account,omitempty"`
}

type ocsfAccount struct {
	UID string `json:"uid"`
}

type ocsfFindingInfo struct {
	UID       string `json:"uid"`
	Title     string `json:"title"`
	Desc      string `json:"desc"`
	FirstSeen int64  `json:"first_seen_time,omitempty"`
}

type ocsfStatus struct {
	Control      string   `json:"control"`
	Standards    []string `json:"standards,omitempty"`
	Requirements []string `json:"requirements,omitempty"`
	StatusID     int      `json:"status_id"`
	Status       string   `json:"status"`
	StatusDetail string   `json:"status_detail"`
}

type ocsfResource struct {
	UID    string `json:"uid"`
	Type   string `json:"type"`
	Name   string `json:"name"`
	Region string `json:"region,omitempty"`
}

type ocsfRemediation struct {
	Desc string `json:"desc"`
}

// OCSF writes each finding as an event of class Compliance Finding, one a line. A failure that an exception accepts has the status
// Suppressed.
func (r Report) OCSF(out io.Writer) error {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	for _, f := range r.Findings {
		if err := e.Encode(r.event(f)); err != nil {
			return fmt.Errorf("write OCSF: %w", err)
		}
	}
	return nil
}

func (r Report) event(f checks.Finding) ocsfEvent {
	check, _ := checks.Of(f.Check)
	result := ocsfResults[f.Result]
	event := ocsfEvent{
		ActivityID: ocsfCreate, CategoryUID: ocsfFindings, ClassUID: ocsfCompliance, TypeUID: ocsfCompliance*100 + ocsfCreate,
		SeverityID: ocsfSeverities[f.Severity], Time: r.Ended.UnixMilli(), Message: f.Why,
		Metadata:    ocsfMetadata{ocsfVersion, []string{"cloud"}, ocsfProduct{"keyturn", "keyturn", r.Version}},
		Cloud:       ocsfCloud{Provider: string(f.Subject.Cloud), Region: f.Subject.Region},
		FindingInfo: ocsfFindingInfo{UID: f.Key(), Title: f.Title, Desc: check.Clause},
		Compliance:  ocsfStatus{Control: f.Check, StatusID: result.id, Status: result.name, StatusDetail: f.Why},
		Resources:   []ocsfResource{{UID: f.Subject.ID, Type: string(f.Subject.Kind), Name: Name(f.Subject), Region: f.Subject.Region}},
	}
	if event.Cloud.Provider == "" {
		event.Cloud.Provider = "Unknown"
	}
	if f.Subject.Account != "" {
		event.Cloud.Account = &ocsfAccount{f.Subject.Account}
	}
	if r.SinceUnread != "" {
		event.Unmapped = map[string]string{"since_unread": r.SinceUnread}
	}
	if !f.Since.IsZero() {
		event.FindingInfo.FirstSeen = f.Since.UnixMilli()
	}
	seen := map[string]bool{}
	for _, c := range check.Citations {
		if standard := c.Framework + " " + c.Version; !seen[standard] {
			seen[standard] = true
			event.Compliance.Standards = append(event.Compliance.Standards, standard)
		}
		event.Compliance.Requirements = append(event.Compliance.Requirements, c.String())
	}
	if f.Open() {
		event.StatusID = ocsfNew
	}
	if f.Exception != nil {
		event.StatusID = ocsfSuppressed
	}
	if len(f.Fix) > 0 {
		event.Remediation = &ocsfRemediation{strings.Join(f.Fix, "\n")}
	}
	return event
}
