package cmek

import (
	"maps"
	"testing"
)

func TestProject_otherName(t *testing.T) {
	p := Project{ID: "acme", Number: "123"}
	for name, want := range map[string]string{"acme": "123", "123": "acme", "acm": "", "1234": "", "": ""} {
		if got := p.Other(name); got != want || p.Called(name) != (want != "") {
			t.Errorf("the other name of %q is %q, want %q", name, got, want)
		}
	}
	if (Project{}).Called("") {
		t.Error("a project that is not known has a name")
	}
}

func TestKeyURI_inAnotherName(t *testing.T) {
	for _, row := range [][2]KeyURI{
		{"projects/123/locations/l/keyRings/r/cryptoKeys/123", "projects/acme/locations/l/keyRings/r/cryptoKeys/123"},
		{"//cloudkms.googleapis.com/projects/123/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/3", "projects/acme/locations/l/keyRings/r/cryptoKeys/k"},
		{"projects/123", "projects/123"},
		{"arn:aws:kms:us-east-1:111122223333:key/k", "arn:aws:kms:us-east-1:111122223333:key/k"},
		{"", ""},
	} {
		if got := row[0].In("acme"); got != row[1] {
			t.Errorf("%s in acme is %s, want %s", row[0], got, row[1])
		}
	}
}

// Only what names the project by its number is changed, and the event that was given stays as it is.
func TestEvent_inAProject(t *testing.T) {
	p := Project{ID: "acme", Number: "123"}
	named := func(key KeyURI, account, resource, ring string) Event {
		return Event{Key: key, Account: account, Parameters: map[string]string{"resource": resource, "key_ring": ring, "api": "projects/123"}}
	}
	for _, row := range []struct{ given, want Event }{
		{named("projects/123/locations/l/keyRings/r/cryptoKeys/k", "123", "projects/123", "projects/123/locations/l/keyRings/r"),
			named("projects/acme/locations/l/keyRings/r/cryptoKeys/k", "acme", "projects/acme", "projects/acme/locations/l/keyRings/r")},
		{named("projects/1234/locations/l/keyRings/r/cryptoKeys/k", "1234", "projects/1234", "projects/1234/locations/l/keyRings/r"), Event{}},
		{named("projects/other/locations/l/keyRings/r/cryptoKeys/k", "other", "organizations/123", ""), Event{}},
		{Event{Account: "123"}, Event{Account: "acme"}},
	} {
		if row.want.Account == "" {
			row.want = row.given
		}
		before := maps.Clone(row.given.Parameters)
		got := row.given.In(p)
		if got.Key != row.want.Key || got.Account != row.want.Account || !maps.Equal(got.Parameters, row.want.Parameters) {
			t.Errorf("%+v in the project is %+v, want %+v", row.given, got, row.want)
		}
		if !maps.Equal(before, row.given.Parameters) {
			t.Errorf("the event that was given has the parameters %v now, had %v", row.given.Parameters, before)
		}
	}
}
