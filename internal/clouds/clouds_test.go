package clouds_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/clouds"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/google"
)

const (
	awsKey    = cmek.KeyURI("arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab")
	googleKey = cmek.KeyURI("projects/acme/locations/us-east1/keyRings/r/cryptoKeys/k")
	otherKey  = cmek.KeyURI("https://vault.vault.azure.net/keys/k/0")
)

// keys says what was read of it.
type keys struct{ name string }

func (k keys) Key(context.Context, cmek.KeyURI) (cmek.Key, error) {
	return cmek.Key{}, errors.New(k.name + " whole")
}

func (k keys) Describe(context.Context, cmek.KeyURI) (cmek.Key, error) {
	return cmek.Key{}, errors.New(k.name + " described")
}

func TestKMS_readsEachKeyWhereItIs(t *testing.T) {
	k := clouds.KMS{cmek.AWSKMS: keys{"aws"}, cmek.GCPCloudKMS: keys{"google"}}
	if got := k.Types(); !slices.Equal(got, []cmek.KeyType{cmek.AWSKMS, cmek.GCPCloudKMS}) {
		t.Errorf("the types are %v", got)
	}
	for uri, want := range map[cmek.KeyURI]string{awsKey: "aws", googleKey: "google", otherKey: "nothing here reads", "": "nothing here reads"} {
		if _, err := k.Key(t.Context(), uri); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("key %q: %v, want %s", uri, err, want)
		}
		if _, err := k.Describe(t.Context(), uri); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("key %q described: %v, want %s", uri, err, want)
		}
	}
}

type refusing struct{ hosts *[]string }

func (r refusing) RoundTrip(req *http.Request) (*http.Response, error) {
	*r.hosts = append(*r.hosts, req.URL.Host)
	return nil, errors.New("refused")
}

// Each document that an adapter names is read with that adapter, whatever its name looks like.
func TestPolicies_readEachDocumentWhereItWasNamed(t *testing.T) {
	var hosts []string
	client := &http.Client{Transport: refusing{&hosts}}
	environment := map[string]string{"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "sample", "AWS_SECRET_ACCESS_KEY": "sample"}
	aws, err := amazon.ConfigFromEnv(func(name string) string { return environment[name] }, client)
	if err != nil {
		t.Fatal(err)
	}
	aws.RetryMaxAttempts = 1
	p := clouds.Policies{AWS: amazon.NewPolicies(aws, nil), Google: google.NewPolicies(google.Config{HTTP: client})}
	for _, tc := range []struct {
		spec cmek.KeySpec
		host string
	}{
		{cmek.KeySpec{Type: cmek.AWSKMS, URI: awsKey, AuthPrincipal: "arn:aws:iam::111122223333:role/cmek"}, "amazonaws.com"},
		{cmek.KeySpec{Type: cmek.GCPCloudKMS, URI: googleKey, AuthPrincipal: "cmek@acme.iam.gserviceaccount.com"}, "googleapis.com"},
	} {
		names := p.Deciding(cmek.Use{ClusterID: "7c1d9e20-3a4b-4c5d-8e6f-000000000002", CloudAccount: "crl-prod-abc", Spec: tc.spec}, nil)
		if len(names) < 3 {
			t.Errorf("%s: only %v decide", tc.spec.Type, names)
		}
		for _, name := range names {
			hosts = nil
			if _, err := p.Document(t.Context(), name); err == nil {
				t.Errorf("%s was read", name)
			}
			if len(hosts) == 0 || slices.ContainsFunc(hosts, func(host string) bool { return !strings.HasSuffix(host, tc.host) }) {
				t.Errorf("%s is looked for at %v, want %s", name, hosts, tc.host)
			}
		}
	}
	if names := p.Deciding(cmek.Use{Spec: cmek.KeySpec{Type: "AZURE", URI: otherKey}}, nil); len(names) > 0 {
		t.Errorf("%v decide about a key elsewhere", names)
	}
}
