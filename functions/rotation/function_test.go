package rotation_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/simulator"
)

// What tests of the whole function over the simulator have in common.

// newSimulator is a world of the seed.
func newSimulator(t *testing.T, seed simulator.Seed) *simulator.World {
	t.Helper()
	world, err := simulator.New(seed)
	if err != nil {
		t.Fatal(err)
	}
	return world
}

// must fails the test on the error of a step that prepares it.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// keyOwner is who administers the keys in the key's account.
type keyOwner struct {
	t      *testing.T
	world  *simulator.World
	client *kms.Client
}

func newKeyOwner(t *testing.T, world *simulator.World) keyOwner {
	env := map[string]string{"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "111122223333", "AWS_SECRET_ACCESS_KEY": "sample"}
	config, err := amazon.ConfigFromEnv(func(name string) string { return env[name] }, &http.Client{Transport: simulator.Transport(world.AWSKMS())})
	must(t, err)
	return keyOwner{t, world, kms.NewFromConfig(config)}
}

func (o keyOwner) at(key cmek.KeyURI) func(*kms.Options) {
	return func(options *kms.Options) { options.Region = key.Location() }
}

func (o keyOwner) disable(key cmek.KeyURI) {
	o.t.Helper()
	if key.Type() == cmek.GCPCloudKMS {
		o.setPrimaryState(key, "DISABLED")
		return
	}
	_, err := o.client.DisableKey(context.Background(), &kms.DisableKeyInput{KeyId: aws.String(string(key))}, o.at(key))
	must(o.t, err)
}

func (o keyOwner) enable(key cmek.KeyURI) {
	o.t.Helper()
	if key.Type() == cmek.GCPCloudKMS {
		o.setPrimaryState(key, "ENABLED")
		return
	}
	_, err := o.client.EnableKey(context.Background(), &kms.EnableKeyInput{KeyId: aws.String(string(key))}, o.at(key))
	must(o.t, err)
}

// admit replaces the key's policy by one that lets these principals use it.
func (o keyOwner) admit(key cmek.KeyURI, principals ...string) {
	o.t.Helper()
	if key.Type() == cmek.GCPCloudKMS {
		o.admitOnGoogle(key, principals...)
		return
	}
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"}`
	for _, p := range principals {
		policy += `,{"Effect":"Allow","Principal":{"AWS":"` + p + `"},"Action":["kms:Encrypt","kms:Decrypt","kms:DescribeKey"],"Resource":"*"}`
	}
	policy += "]}"
	_, err := o.client.PutKeyPolicy(context.Background(), &kms.PutKeyPolicyInput{KeyId: aws.String(string(key)), Policy: aws.String(policy)}, o.at(key))
	must(o.t, err)
}

// reported lists the alerts about the change that were sent, without or with those that say its end.
func reported(f *rotation.Function, change cmek.Change) (begun, ended []alert.Alert) {
	for _, a := range f.Notifier.(*cmektest.Notifier).Alerts() {
		switch {
		case a.Change != change:
		case a.Resolved:
			ended = append(ended, a)
		default:
			begun = append(begun, a)
		}
	}
	return begun, ended
}

func named(alerts []alert.Alert) (lines []string) {
	for _, a := range alerts {
		lines = append(lines, a.Time.UTC().Format("15:04:05 ")+a.Summary)
	}
	return lines
}

// announce delivers the events that were emitted since the last call.
func announce(t *testing.T, f *rotation.Function, world *simulator.World) {
	t.Helper()
	for _, e := range world.Events() {
		must(t, cmektest.Deliver(context.Background(), e.Payload, f.Event))
	}
}

// rotateKey rotates the key and delivers the events.
func rotateKey(t *testing.T, f *rotation.Function, world *simulator.World, key cmek.KeyURI) {
	t.Helper()
	must(t, world.Rotate(string(key)))
	time.Sleep(10 * time.Second)
	announce(t, f, world)
}

func item(t *testing.T, f *rotation.Function, id string) *ledger.Cluster {
	t.Helper()
	c, err := f.Ledger.Cluster(context.Background(), id)
	must(t, err)
	return c
}

func sweepOf(t *testing.T, f *rotation.Function) ledger.Sweep {
	t.Helper()
	w, err := f.Ledger.Worker(context.Background())
	must(t, err)
	return w.Sweep
}

// behind counts the store keys that are behind their key.
func behind(world *simulator.World) (n int) {
	for _, key := range world.StoreKeys() {
		if key.Behind {
			n++
		}
	}
	return n
}
