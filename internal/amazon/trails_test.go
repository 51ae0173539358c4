package amazon_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	cttypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/cmek"
)

// Moto keeps trails for good, so each test looks at its own only.
func named(trails []amazon.Trail, name string) *amazon.Trail {
	if at := slices.IndexFunc(trails, func(t amazon.Trail) bool { return t.Name == name }); at >= 0 {
		return &trails[at]
	}
	return nil
}

// createTrail makes a trail in the Region of the client.
func createTrail(t *testing.T, config amazon.Config, client *cloudtrail.Client, name string, multiRegion bool) {
	t.Helper()
	bucket := s3.NewFromConfig(config, func(o *s3.Options) { o.UsePathStyle = true })
	if _, err := bucket.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.CreateTrail(t.Context(), &cloudtrail.CreateTrailInput{
		Name: &name, S3BucketName: &name, IsMultiRegionTrail: &multiRegion,
	}); err != nil {
		t.Fatal(err)
	}
}

func TestATrailIsReadWithItsStatusAndSelectors(t *testing.T) {
	config := motoConfig(t, nil)
	client, name := cloudtrail.NewFromConfig(config), "keyturn-trail"
	createTrail(t, config, client, name, false)
	read := func() *amazon.Trail {
		t.Helper()
		trails, err := amazon.NewTrails(config).Trails(t.Context())
		trail := named(trails, name)
		if err != nil || trail == nil {
			t.Fatalf("the trails are %+v, %v; want %s among them", trails, err, name)
		}
		return trail
	}
	want := amazon.Trail{Name: name, ARN: "arn:aws:cloudtrail:us-east-1:123456789012:trail/" + name, HomeRegion: "us-east-1"}
	if got := read(); !reflect.DeepEqual(*got, want) {
		t.Errorf("a new trail reads\n%+v, want\n%+v", *got, want)
	}

	if _, err := client.StartLogging(t.Context(), &cloudtrail.StartLoggingInput{Name: &name}); err != nil {
		t.Fatal(err)
	}
	basic := []cttypes.EventSelector{
		{ReadWriteType: cttypes.ReadWriteTypeWriteOnly, ExcludeManagementEventSources: []string{"rdsdata.amazonaws.com"}},
		{ReadWriteType: cttypes.ReadWriteTypeReadOnly, IncludeManagementEvents: aws.Bool(false)},
		{ReadWriteType: cttypes.ReadWriteTypeAll, IncludeManagementEvents: aws.Bool(true)},
		{ReadWriteType: "Neither"},
	}
	if _, err := client.PutEventSelectors(t.Context(), &cloudtrail.PutEventSelectorsInput{TrailName: &name, EventSelectors: basic}); err != nil {
		t.Fatal(err)
	}
	equals := func(field, value string) amazon.EventCondition {
		return amazon.EventCondition{Field: field, Equals: []string{value}}
	}
	want.Logging = true
	want.Selectors = [][]amazon.EventCondition{
		{equals("eventCategory", "Management"), equals("readOnly", "false"), {Field: "eventSource", NotEquals: []string{"rdsdata.amazonaws.com"}}},
		{equals("eventCategory", "Data"), equals("readOnly", "true")},
		{equals("eventCategory", "Management")},
		{equals("eventCategory", "Management"), equals("ReadWriteType", "Neither")},
	}
	if got := read(); !reflect.DeepEqual(*got, want) {
		t.Errorf("a trail with basic selectors reads\n%+v, want\n%+v", *got, want)
	}

	all := cttypes.AdvancedFieldSelector{
		Field: aws.String("eventSource"), Equals: []string{"a"}, StartsWith: []string{"b"}, EndsWith: []string{"c"},
		NotEquals: []string{"d"}, NotStartsWith: []string{"e"}, NotEndsWith: []string{"f"},
	}
	advanced := []cttypes.AdvancedEventSelector{{FieldSelectors: []cttypes.AdvancedFieldSelector{
		{Field: aws.String("eventCategory"), Equals: []string{"Management"}}, all,
	}}}
	if _, err := client.PutEventSelectors(t.Context(), &cloudtrail.PutEventSelectorsInput{TrailName: &name, AdvancedEventSelectors: advanced}); err != nil {
		t.Fatal(err)
	}
	want.Selectors = [][]amazon.EventCondition{{equals("eventCategory", "Management"), {
		Field: "eventSource", Equals: []string{"a"}, StartsWith: []string{"b"}, EndsWith: []string{"c"},
		NotEquals: []string{"d"}, NotStartsWith: []string{"e"}, NotEndsWith: []string{"f"},
	}}}
	if got := read(); !reflect.DeepEqual(*got, want) {
		t.Errorf("a trail with advanced selectors reads\n%+v, want\n%+v", *got, want)
	}
}

func TestAMultiRegionTrailOfAnotherRegionIsReadToo(t *testing.T) {
	config := motoConfig(t, nil)
	for _, name := range []string{"keyturn-all-regions", "keyturn-one-region"} {
		ireland := cloudtrail.NewFromConfig(config, func(o *cloudtrail.Options) { o.Region = "eu-west-1" })
		createTrail(t, config, ireland, name, name == "keyturn-all-regions")
		if _, err := ireland.StartLogging(t.Context(), &cloudtrail.StartLoggingInput{Name: &name}); err != nil {
			t.Fatal(err)
		}
	}
	trails, err := amazon.NewTrails(config).Trails(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// Moto knows a trail's selectors in its home Region only: that they are read shows that this Region was asked.
	want := &amazon.Trail{
		Name: "keyturn-all-regions", ARN: "arn:aws:cloudtrail:eu-west-1:123456789012:trail/keyturn-all-regions", HomeRegion: "eu-west-1",
		MultiRegion: true, Logging: true,
	}
	if got := named(trails, want.Name); !reflect.DeepEqual(got, want) {
		t.Errorf("the trail reads\n%+v, want\n%+v", got, want)
	}
	if got := named(trails, "keyturn-one-region"); got != nil {
		t.Errorf("a trail of eu-west-1 alone is visible in us-east-1: %+v", got)
	}
}

const organizationTrail = "arn:aws:cloudtrail:eu-west-1:999900001111:trail/everything"

// fakeCloudTrail has one organization trail of another account, and refuses the calls that are named.
func fakeCloudTrail(t *testing.T, refused map[string]string) (endpoint string, calls *[]string) {
	t.Helper()
	calls = new([]string)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		action := r.Header.Get("X-Amz-Target")
		action = action[strings.LastIndex(action, ".")+1:]
		region := strings.Split(r.Header.Get("Authorization"), "/")[2]
		var input struct {
			Name, TrailName     string
			IncludeShadowTrails bool
		}
		if err := json.NewDecoder(r.Body).Decode(&input); err != nil {
			t.Error(err)
		}
		*calls = append(*calls, strings.TrimSpace(fmt.Sprint(action, " ", region, " ", input.Name, input.TrailName)))
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		switch code := refused[action]; {
		case code != "":
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"__type":%q,"message":"no"}`, code)
		case action == "DescribeTrails" && input.IncludeShadowTrails:
			fmt.Fprintf(w, `{"trailList":[{"Name":"everything","TrailARN":%q,"HomeRegion":"eu-west-1","IsMultiRegionTrail":true,
				"IsOrganizationTrail":true,"HasCustomEventSelectors":true}]}`, organizationTrail)
		case action == "GetTrailStatus":
			fmt.Fprint(w, `{"IsLogging":true,"LatestDeliveryError":"AccessDenied"}`)
		default:
			fmt.Fprint(w, `{}`)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL, calls
}

func TestATrailIsAskedForByItsARNTheStatusHereAndTheSelectorsAtHome(t *testing.T) {
	endpoint, calls := fakeCloudTrail(t, nil)
	trails, err := amazon.NewTrails(configAt(t, endpoint, nil)).Trails(t.Context())
	want := []amazon.Trail{{
		Name: "everything", ARN: organizationTrail, HomeRegion: "eu-west-1", MultiRegion: true, Organization: true,
		Logging: true, DeliveryError: "AccessDenied", CustomSelectors: true,
	}}
	if err != nil || !reflect.DeepEqual(trails, want) {
		t.Errorf("the trails are\n%+v, %v; want\n%+v", trails, err, want)
	}
	if want := []string{"DescribeTrails us-east-1", "GetTrailStatus us-east-1 " + organizationTrail, "GetEventSelectors eu-west-1 " + organizationTrail}; !slices.Equal(*calls, want) {
		t.Errorf("the calls were %q, want %q", *calls, want)
	}
}

func TestWhatOfATrailCannotBeReadIsSaidInTheTrail(t *testing.T) {
	endpoint, _ := fakeCloudTrail(t, map[string]string{"GetTrailStatus": "AccessDeniedException", "GetEventSelectors": "CloudTrailARNInvalidException"})
	trails, err := amazon.NewTrails(configAt(t, endpoint, nil)).Trails(t.Context())
	if err != nil || len(trails) != 1 {
		t.Fatalf("the trails are %+v, %v; want one", trails, err)
	}
	got := trails[0]
	if got.Logging || got.LoggingUnread != "AccessDeniedException: no" || got.SelectorsUnread != "CloudTrailARNInvalidException: no" {
		t.Errorf("of the trail it says %+v; want both refusals and no logging", got)
	}
}

func TestWithoutAListOfTrailsThereIsAnError(t *testing.T) {
	endpoint, _ := fakeCloudTrail(t, map[string]string{"DescribeTrails": "AccessDeniedException"})
	trails, err := amazon.NewTrails(configAt(t, endpoint, nil)).Trails(t.Context())
	if trails != nil || !errors.Is(err, cmek.ErrDenied) || !strings.HasPrefix(err.Error(), "list trails: access denied") {
		t.Errorf("the trails are %+v, %v; want none and ErrDenied", trails, err)
	}
}
