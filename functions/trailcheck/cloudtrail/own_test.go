package cloudtrail_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/functions/trailcheck/cloudtrail"
	"github.com/keyturn/keyturn/internal/amazon"
)

// trailsOf serves one trail of account 111122223333 whose selectors are the JSON given, and refuses the operation named.
func trailsOf(t *testing.T, selectors, refused string) *cloudtrail.Own {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), "CloudTrail_20131101.")
		switch {
		case operation == "" && strings.Contains(string(body), "GetCallerIdentity"):
			fmt.Fprint(w, `<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:iam::111122223333:user/jo</Arn><Account>111122223333</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`)
		case operation == refused:
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"__type":"AccessDeniedException","Message":"no"}`)
		case operation == "DescribeTrails":
			fmt.Fprint(w, `{"trailList":[{"Name":"all","TrailARN":"arn:aws:cloudtrail:us-east-1:111122223333:trail/all","HomeRegion":"us-east-1","IsMultiRegionTrail":true}]}`)
		case operation == "GetTrailStatus":
			fmt.Fprint(w, `{"IsLogging":true}`)
		case operation == "GetEventSelectors":
			fmt.Fprint(w, selectors)
		}
	}))
	t.Cleanup(server.Close)
	environment := map[string]string{"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_ENDPOINT_URL": server.URL}
	config, err := amazon.ConfigFromEnv(func(name string) string { return environment[name] }, &http.Client{Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return cloudtrail.NewOwn(config)
}

func TestOwn_say_what_a_trail_records(t *testing.T) {
	for _, c := range []struct {
		name, selectors, refused string
		writes, reads            checks.Answer
	}{
		{"everything", `{"EventSelectors":[{"ReadWriteType":"All","IncludeManagementEvents":true}]}`, "", checks.Yes, checks.Yes},
		{"no reads", `{"EventSelectors":[{"ReadWriteType":"WriteOnly","IncludeManagementEvents":true}]}`, "", checks.Yes, checks.No},
		{"not KMS", `{"EventSelectors":[{"ReadWriteType":"All","IncludeManagementEvents":true,"ExcludeManagementEventSources":["kms.amazonaws.com"]}]}`, "", checks.No, checks.No},
		{"selectors that are refused", `{}`, "GetEventSelectors", checks.Unclear, checks.Unclear},
	} {
		trails, err := trailsOf(t, c.selectors, c.refused).Trails(t.Context(), "111122223333", "eu-west-1")
		if err != nil || len(trails) != 1 || trails[0].Name != "all" || trails[0].Writes != c.writes || trails[0].Reads != c.reads {
			t.Errorf("%s: %+v, %v", c.name, trails, err)
		}
	}
}

// No list is no proof of no trail.
func TestOwn_that_cannot_be_read_are_an_error(t *testing.T) {
	if trails, err := trailsOf(t, "", "DescribeTrails").Trails(t.Context(), "111122223333", "us-east-1"); err == nil {
		t.Errorf("%+v", trails)
	}
	if trails, err := trailsOf(t, "{}", "").Trails(t.Context(), "444455556666", "us-east-1"); err == nil || !strings.Contains(err.Error(), "own account") {
		t.Errorf("%+v, %v", trails, err)
	}
}
