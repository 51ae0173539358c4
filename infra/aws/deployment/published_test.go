package deployment_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/infra/aws/deployment"
	"github.com/keyturn/keyturn/internal/cmek"
)

var resources = deployment.Resources{Table: "keyturn-hub-Ledger-1ABC", Bucket: "keyturn-hub-archive-1abc",
	AlertsTopic: "arn:aws:sns:eu-west-1:111122223333:keyturn-alerts", OperationsTopic: "arn:aws:sns:eu-west-1:111122223333:keyturn-operations"}

func TestWhatIsPublishedIsReadBack(t *testing.T) {
	d, err := deployment.Parse([]byte(rich))
	if err != nil {
		t.Fatal(err)
	}
	d.Version = "v1.2.3"
	p, err := deployment.ParsePublished("keyturn", d.Publish(resources).JSON())
	if err != nil {
		t.Fatal(err)
	}
	if p.JSON() != d.Publish(resources).JSON() {
		t.Errorf("it reads back as\n%s\nwant\n%s", p.JSON(), d.Publish(resources).JSON())
	}
	v := p.Variables()
	for name, want := range map[string]string{
		"KEYTURN_LEDGER": "dynamodb://keyturn-hub-Ledger-1ABC?region=us-east-1", "KEYTURN_SETTLE": "5m", "KEYTURN_IN_FLIGHT": "3", "KEYTURN_MODE": "follow",
	} {
		if v[name] != want {
			t.Errorf("%s is %q, want %q", name, v[name], want)
		}
	}
	for name := range v {
		if _, external := strings.CutPrefix(name, "KEYTURN_READER_EXTERNAL_ID"); external || strings.Contains(name, "SECRET") {
			t.Errorf("%s is set, and there is none", name)
		}
	}
	p.Settings["COCKROACH_API_KEY"], p.Settings["KEYTURN_LEDGER"], p.Server = "x", "dynamodb://other", "https://other.example.com"
	for name, value := range p.Variables() {
		if name == "COCKROACH_API_KEY" || name == "COCKROACH_SERVER" || value == "dynamodb://other" {
			t.Errorf("a parameter sets %s to %s", name, value)
		}
	}
	p = d.Publish(resources)
	// What a later version adds within the format does not matter.
	more := strings.Replace(p.JSON(), `{"format":1`, `{"format":1,"hue":"red"`, 1)
	if _, err := deployment.ParsePublished("keyturn", more); err != nil {
		t.Errorf("a field that is not known is refused: %v", err)
	}
}

func TestWhatWouldNotFitIntoTheParameterIsRefused(t *testing.T) {
	channels := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "  - {name: channel-%04d, kind: webhook, url: \"https://siem.example.com/%d\"}\n", i, i)
		}
		return "channels:\n" + b.String()
	}
	if got := problemsOf(t, lean+channels(10)); got != nil {
		t.Errorf("10 channels are refused: %v", got)
	}
	if got := problemsOf(t, lean+channels(150)); len(got) == 0 {
		t.Error("150 channels are taken")
	}
	long := lean + "settings: {KEYTURN_CLOUD_API_VERSION: \"" + strings.Repeat("x", 4000) + "\"}\n"
	if got := problemsOf(t, long); !slices.ContainsFunc(got, func(p string) bool { return strings.Contains(p, "a parameter that holds 4096") }) {
		t.Errorf("a setting of 4,000 characters has the problems %v, want that the parameter cannot hold it", got)
	}
}

// withAccounts is the lean file with further accounts.
func withAccounts(accounts string) string {
	return strings.Replace(lean, "alerts:", accounts+"alerts:", 1)
}

// A key is watched where its account and Region are, and what a deployment does not publish is not known.
func TestPublished_saysWhichKeysAreWatched(t *testing.T) {
	d, err := deployment.Parse([]byte(withAccounts(`
  - id: "444455556666"
    keys: ["arn:aws:kms:eu-west-3:444455556666:key/0c6f2e3a-77d1-4c1e-9a53-2b8f4d0e6a12"]
    regions: [eu-north-1]
`)))
	if err != nil {
		t.Fatal(err)
	}
	p, err := deployment.ParsePublished("keyturn", d.Publish(resources).JSON())
	if err != nil {
		t.Fatal(err)
	}
	key := func(account, region string) cmek.KeyURI {
		return cmek.KeyURI("arn:aws:kms:" + region + ":" + account + ":key/mrk-5e3c0b9d71f84a62b6e07c2f18d4a906")
	}
	for _, r := range []struct {
		key  cmek.KeyURI
		says string // "" for watched
	}{
		{key("444455556666", "eu-west-3"), ""},
		{key("444455556666", "eu-north-1"), ""},
		{key("444455556666", deployment.GlobalRegion), ""},
		{key(d.Hub.Account, d.Hub.Region), ""},
		{key("444455556666", "eu-west-2"), "watches account 444455556666 in eu-north-1, eu-west-3, us-east-1, not in eu-west-2; add the key"},
		{key(d.Hub.Account, "eu-west-3"), "not in eu-west-3"},
		{key("444455556667", "eu-west-3"), "does not watch account 444455556667; add the account"},
		{"projects/acme/locations/eu-west-3/keyRings/r/cryptoKeys/k", "is on AWS"},
		{"", "is on AWS"},
	} {
		why, err := p.Unwatched(r.key)
		if err != nil || (why == "") != (r.says == "") || !strings.Contains(why, r.says) {
			t.Errorf("%s: %q, error %v; want %q", r.key, why, err, r.says)
		}
	}
	older := strings.Replace(p.JSON(), `"watched":`, `"hue":`, 1)
	p, err = deployment.ParsePublished("keyturn", older)
	if err != nil {
		t.Fatalf("a deployment of before is refused: %v", err)
	}
	if why, err := p.Unwatched(key("444455556666", "eu-west-3")); why != "" || !errors.Is(err, deployment.ErrWatchedUnknown) {
		t.Errorf("a deployment of before says %q, error %v", why, err)
	}
}

// Accounts that do not fit into the parameter keep nobody from deploying.
func TestPublish_leavesOutWhatDoesNotFit(t *testing.T) {
	accounts := func(n int) deployment.Published {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "  - {id: \"%012d\", keys: [\"arn:aws:kms:us-east-1:%012[1]d:key/0c6f2e3a-77d1-4c1e-9a53-2b8f4d0e6a12\"]}\n", 444400000000+i)
		}
		d, err := deployment.Parse([]byte(withAccounts(b.String())))
		if err != nil {
			t.Fatal(err)
		}
		return d.Publish(resources)
	}
	if p := accounts(100); len(p.Watched) == 0 || len(p.JSON()) > deployment.PublishedRoom {
		t.Errorf("with 100 accounts %d places take %d bytes", len(p.Watched), len(p.JSON()))
	}
	if p := accounts(280); p.Watched != nil {
		t.Errorf("with 280 accounts %d places are published", len(p.Watched))
	}
}
