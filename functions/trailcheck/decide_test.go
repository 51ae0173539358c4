package trailcheck

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

const here = "eu-west-1"

// good is a trail that records everything here, after it was changed.
func good(change func(*Trail)) Trail {
	trail := Trail{Name: "main", ARN: "arn:aws:cloudtrail:eu-west-1:111122223333:trail/main", HomeRegion: here, Logging: true}
	if change != nil {
		change(&trail)
	}
	return trail
}

// selecting is a good trail with these selectors.
func selecting(selectors ...Selector) Trail {
	return good(func(t *Trail) { t.Selectors, t.CustomSelectors = selectors, true })
}

func equals(field string, values ...string) Condition { return Condition{Field: field, Equals: values} }

var management = equals("eventCategory", "Management")

func TestWhatATrailRecords(t *testing.T) {
	const kms = "kms.amazonaws.com"
	source := func(c Condition) Trail {
		c.Field = "eventSource"
		return selecting(Selector{management, c})
	}
	for _, tc := range []struct {
		name          string
		trail         Trail
		writes, reads Answer
		why           string
	}{
		{"without selectors of its own it records all management events", good(nil), Yes, Yes, ""},
		{"a failed delivery to S3 does not stop the records", good(func(t *Trail) { t.DeliveryError = "AccessDenied" }), Yes, Yes, ""},
		{"selectors that are not shown may exclude anything", good(func(t *Trail) { t.CustomSelectors = true }), Unknown, Unknown, "selectors that are not shown"},
		{"logging is off", good(func(t *Trail) { t.Logging = false }), No, No, "its logging is off"},
		{"the status cannot be read", good(func(t *Trail) { t.Logging, t.LoggingUnread = false, "denied" }), Unknown, Unknown, "its status cannot be read (denied)"},
		{"the selectors cannot be read", good(func(t *Trail) { t.SelectorsUnread = "denied" }), Unknown, Unknown, "its event selectors cannot be read (denied)"},
		{"what is certain outweighs what cannot be read", good(func(t *Trail) { t.Logging, t.SelectorsUnread = false, "denied" }), No, No, "its logging is off"},
		{"a single-Region trail of another Region", good(func(t *Trail) { t.HomeRegion = "us-east-1" }), No, No, "it records us-east-1 only"},
		{"a trail without a home Region", good(func(t *Trail) { t.HomeRegion = "" }), Unknown, Unknown, "its home Region is not given"},
		{"a multi-Region trail of another Region", good(func(t *Trail) { t.HomeRegion, t.MultiRegion = "us-east-1", true }), Yes, Yes, ""},

		{"all management events", selecting(Selector{management}), Yes, Yes, ""},
		{"write events only", selecting(Selector{management, equals("readOnly", "false")}), Yes, No, ""},
		{"read-only events only", selecting(Selector{management, equals("readOnly", "true")}), No, Yes, "read-only events but no write events"},
		{"read-only and write events in two selectors", selecting(Selector{management, equals("readOnly", "true")}, Selector{management, equals("readOnly", "false")}), Yes, Yes, ""},
		{"both values of readOnly", selecting(Selector{management, equals("readOnly", "true", "false")}), Yes, Yes, ""},
		{"a readOnly that is neither", selecting(Selector{management, equals("readOnly", "false", "maybe")}), Unknown, Unknown, "not understood"},
		{"a readOnly with another operator", selecting(Selector{management, {Field: "readOnly", NotEquals: []string{"true"}}}), Unknown, Unknown, "not understood"},
		{"data events only", selecting(Selector{equals("eventCategory", "Data"), equals("resources.type", "AWS::S3::Object")}), No, No, "none of its event selectors includes management events"},
		{"data events and management events", selecting(Selector{equals("eventCategory", "Data")}, Selector{management}), Yes, Yes, ""},
		{"data events, and management events without KMS", selecting(Selector{equals("eventCategory", "Data")}, Selector{management, {Field: "eventSource", NotEquals: []string{kms}}}), No, No, "its event selectors exclude kms.amazonaws.com"},
		{"no event category", selecting(Selector{equals("readOnly", "false")}), Unknown, No, "not understood"},
		{"no event category, and KMS is excluded", selecting(Selector{{Field: "eventSource", NotEquals: []string{kms}}}), No, No, "exclude"},
		{"an event category with another operator", selecting(Selector{{Field: "eventCategory", StartsWith: []string{"M"}}}), Unknown, Unknown, "not understood"},
		{"a field that a trail's management events do not have", selecting(Selector{management, equals("eventName", "RotateKey")}), Unknown, Unknown, `"eventName", which is not understood`},
		{"an unknown field, and KMS is excluded", selecting(Selector{management, equals("eventName", "x"), {Field: "eventSource", NotEquals: []string{kms}}}), No, No, "exclude"},
		{"an unknown field in one selector, everything in another", selecting(Selector{management, equals("eventName", "x")}, Selector{management}), Yes, Yes, ""},
		{"the unclear selector is named, not the one that is certain", selecting(Selector{management, equals("readOnly", "true")}, Selector{management, equals("vpcEndpointId", "x")}), Unknown, Yes, `"vpcEndpointId"`},
		{"a selector without conditions", selecting(Selector{}), Unknown, Unknown, "not understood"},
		{"a condition without an operator", source(Condition{}), Unknown, Unknown, "not understood"},

		{"KMS is excluded", source(Condition{NotEquals: []string{kms}}), No, No, "exclude kms.amazonaws.com"},
		{"KMS is excluded among others", source(Condition{NotEquals: []string{"rdsdata.amazonaws.com", kms}}), No, No, "exclude"},
		{"another service is excluded", source(Condition{NotEquals: []string{"rdsdata.amazonaws.com"}}), Yes, Yes, ""},
		{"KMS is included", source(Condition{Equals: []string{kms}}), Yes, Yes, ""},
		{"another service only is included", source(Condition{Equals: []string{"iam.amazonaws.com"}}), No, No, "exclude"},
		{"the beginning of KMS is included", source(Condition{StartsWith: []string{"iam.", "kms."}}), Yes, Yes, ""},
		{"another beginning only is included", source(Condition{StartsWith: []string{"iam."}}), No, No, "exclude"},
		{"the beginning of KMS is excluded", source(Condition{NotStartsWith: []string{"kms"}}), No, No, "exclude"},
		{"another beginning is excluded", source(Condition{NotStartsWith: []string{"iam"}}), Yes, Yes, ""},
		{"the end of KMS is included", source(Condition{EndsWith: []string{".amazonaws.com"}}), Yes, Yes, ""},
		{"another end only is included", source(Condition{EndsWith: []string{".example.com"}}), No, No, "exclude"},
		{"the end of KMS is excluded", source(Condition{NotEndsWith: []string{".amazonaws.com"}}), No, No, "exclude"},
		{"another end is excluded", source(Condition{NotEndsWith: []string{".example.com"}}), Yes, Yes, ""},
		{"operators that select are joined by or", source(Condition{Equals: []string{"iam.amazonaws.com"}, StartsWith: []string{"kms"}}), Yes, Yes, ""},
		{"what deselects outweighs what selects", source(Condition{EndsWith: []string{".amazonaws.com"}, NotStartsWith: []string{"kms"}}), No, No, "exclude"},
		{"two conditions on a field must both hold", selecting(Selector{management, {Field: "eventSource", EndsWith: []string{".com"}}, {Field: "eventSource", NotEquals: []string{kms}}}), No, No, "exclude"},
	} {
		got := judge(here, tc.trail)
		if got.Writes != tc.writes || got.Reads != tc.reads || !strings.Contains(got.Why, tc.why) || (got.Why == "") != (tc.why == "") {
			t.Errorf("%s: writes %s, reads %s, because %q; want %s, %s, %q", tc.name, got.Writes, got.Reads, got.Why, tc.writes, tc.reads, tc.why)
		}
	}
}

func TestWhetherADeploymentMayGoOn(t *testing.T) {
	off := good(func(t *Trail) { t.Name, t.Logging = "off", false })
	unclear := good(func(t *Trail) { t.Name, t.Organization, t.SelectorsUnread = "org", true, "denied" })
	writesOnly := selecting(Selector{management, equals("readOnly", "false")})
	refusedByS3 := good(func(t *Trail) { t.DeliveryError = "NoSuchBucket" })
	for _, tc := range []struct {
		name         string
		trails       []Trail
		unread       string
		pass, passed bool // without and with the owner's word
		says         []string
	}{
		{"a trail that records everything", []Trail{good(nil)}, "", true, true, []string{`recorded by trail "main".`}},
		{"one good trail among others is enough", []Trail{off, unclear, good(nil)}, "", true, true, []string{`recorded by trail "main".`}},
		{"writes only pass with a warning", []Trail{writesOnly}, "", true, true, []string{"no trail records read-only KMS events", "failed use"}},
		{"reads may come from another trail", []Trail{writesOnly, selecting(Selector{management, equals("readOnly", "true")})}, "", true, true, []string{`recorded by trail "main".`}},
		{"reads that cannot be told are a warning", []Trail{writesOnly, unclear}, "", true, true, []string{"no trail is known to record read-only KMS events"}},
		{"a failed delivery is a warning", []Trail{refusedByS3}, "", true, true, []string{"Warning: S3 refuses", "NoSuchBucket"}},
		{"no trail", nil, "", false, true, []string{"No trail is visible here"}},
		{"no list of trails", nil, "access denied", false, true, []string{"cannot be listed (access denied)"}},
		{"a trail that cannot be told", []Trail{unclear}, "", false, true, []string{`organization trail "org": cannot tell, its event selectors cannot be read (denied)`}},
		{"a trail that is off and one that cannot be told", []Trail{off, unclear}, "", false, true, []string{`trail "off": its logging is off`, `"org": cannot tell`}},
		{"trails that certainly record nothing", []Trail{off}, "", false, false, []string{`trail "off": its logging is off`}},
	} {
		for asserted, want := range map[bool]bool{false: tc.pass, true: tc.passed} {
			got := Decide(here, tc.trails, tc.unread, asserted)
			if got.Pass != want || len(got.Records) != len(tc.trails) {
				t.Errorf("%s (asserted %v): pass is %v with %d records; want %v", tc.name, asserted, got.Pass, len(got.Records), want)
			}
			for _, part := range tc.says {
				if !strings.Contains(got.Text, part) {
					t.Errorf("%s (asserted %v): the answer does not say %q:\n%s", tc.name, asserted, part, got.Text)
				}
			}
			if onTrust := want && !tc.pass; strings.Contains(got.Text, "Passed on the owner's word alone (Assert is true)") != onTrust {
				t.Errorf("%s (asserted %v): the answer must say whether it rests on the owner's word alone (%v):\n%s", tc.name, asserted, onTrust, got.Text)
			}
			if wayOut := !tc.pass && tc.passed && !asserted; strings.Contains(got.Text, "trail: asserted in keyturn.yaml (property Assert: true)") != wayOut {
				t.Errorf("%s (asserted %v): the way out must be named where it is one (%v):\n%s", tc.name, asserted, wayOut, got.Text)
			}
			if contradicted := asserted && !want; strings.Contains(got.Text, "does not stand against trails that can be read") != contradicted {
				t.Errorf("%s (asserted %v): the answer must say whether the owner's word is contradicted (%v):\n%s", tc.name, asserted, contradicted, got.Text)
			}
		}
	}
}

func TestARefusalReadsWell(t *testing.T) {
	trails := []Trail{
		good(func(t *Trail) { t.Logging = false }),
		good(func(t *Trail) {
			t.Name, t.Organization, t.HomeRegion, t.MultiRegion = "everything", true, "us-east-1", true
			t.SelectorsUnread = "CloudTrailARNInvalidException: AccountID in ARN is wrong"
		}),
	}
	want := `No trail is known to record KMS write management events in eu-west-1, so keyturn would not be notified of rotated, ` +
		`disabled or deleted keys. Seen: trail "main": its logging is off; organization trail "everything": cannot tell, its event ` +
		`selectors cannot be read (CloudTrailARNInvalidException: AccountID in ARN is wrong). Fix: a trail with logging on that ` +
		`covers this Region, includes read and write management events, and does not exclude kms.amazonaws.com. If an ` +
		`organization trail that this account cannot read records KMS events, its owner may vouch for it: trail: asserted in ` +
		`keyturn.yaml (property Assert: true). Runbook: https://github.com/keyturn/keyturn/blob/main/functions/trailcheck/README.md`
	if got := Decide(here, trails, "", false).Text; got != want {
		t.Errorf("the answer is\n%s\nwant\n%s", got, want)
	}
}

func TestAnAnswerNeverOutgrowsCloudFormationsList(t *testing.T) {
	long := strings.Repeat("AccessDénied: nobody\nmay ", 40)
	makers := map[string]func(*Trail){
		"good": nil, "off": func(t *Trail) { t.Logging = false },
		"unclear":     func(t *Trail) { t.LoggingUnread, t.SelectorsUnread = long, long },
		"undelivered": func(t *Trail) { t.DeliveryError = long },
		"odd": func(t *Trail) {
			t.Selectors = slices.Repeat([]Selector{{management, equals(long, "x")}, {management, equals("eventName", "y")}}, 3)
		},
	}
	for name, change := range makers {
		for n := range 40 {
			var trails []Trail
			for i := range n {
				trail := good(change)
				trail.Name = fmt.Sprintf("%0128d", i)
				trails = append(trails, trail)
			}
			for _, asserted := range []bool{false, true} {
				got := Decide(here, trails, "", asserted).Text
				if len(got) > MostText || strings.ContainsAny(got, "\n\uFFFD") {
					t.Fatalf("with %d %s trails (asserted %v) the answer has %d bytes: %q", n, name, asserted, len(got), got)
				}
				if fits := !strings.Contains(got, " more"); n > 10 && fits && !strings.Contains(got, fmt.Sprint(n, " trails")) {
					t.Fatalf("with %d %s trails (asserted %v) the answer does not say how many are left out: %q", n, name, asserted, got)
				}
			}
		}
	}
	if got := Decide(here, nil, long, false).Text; len(got) > MostText {
		t.Errorf("without a list the answer has %d bytes", len(got))
	}
}
