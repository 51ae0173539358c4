package main

import (
	"strings"
	"testing"

	"github.com/keyturn/keyturn/functions/keyturn/installation"
	"github.com/keyturn/keyturn/functions/keyturn/live"
	"github.com/keyturn/keyturn/internal/cmek"
)

func TestHold_keyAndCluster_areReleasedOneByOne(t *testing.T) {
	b := newBench(t).swept(t)
	const id, short = "0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f001", "0a5d1c2e…f001"
	wantText(t, "the empty list", b.succeed(t, "hold"), "Nothing is on hold.")
	wantText(t, "releasing nothing", b.succeed(t, "release", id), "There is no hold of key "+paymentsKey)
	wantText(t, "a hold", b.succeed(t, "hold", id, "--reason", "key compromised"), "On hold until ", "(in 24h)", paymentsKey, "alerts still come")
	wantText(t, "a hold of a cluster", b.succeed(t, "hold", "orders", "--reason", "freeze", "--for", "3d", "--by", "ana\x1b[2J"), "(in 3d)", "cluster orders")
	wantText(t, "the same once more", b.succeed(t, "hold", short, "--reason", "CHG-7", "--for", "90m"), "(in 90m)", "It was on hold already", "key compromised", installation.Operator())

	for _, args := range [][]string{{"hold"}, {"alerts"}, {"status"}} {
		wantText(t, "keyturn "+strings.Join(args, " "), b.succeed(t, args...), "key "+paymentsKey, "CHG-7", "cluster orders", "ana [2J", "freeze")
	}
	if all := decodeJSON[cmek.Holds](t, b.succeed(t, "hold", "-o", "json")); len(all) != 2 {
		t.Errorf("the holds are %+v, want two", all)
	}
	wantText(t, "the status of a cluster", b.succeed(t, "status", "orders"), "freeze")
	if out := b.succeed(t, "status", "orders"); strings.Contains(out, "CHG-7") {
		t.Errorf("the status of a cluster shows a hold of another one's key:\n%s", out)
	}
	s := decodeJSON[live.Status](t, b.succeed(t, "status", "-o", "json"))
	if len(s.Holds) != 2 {
		t.Errorf("status has the holds %+v, want both", s.Holds)
	}
	for _, c := range s.Clusters {
		for _, r := range c.Regions {
			held := c.Name == "orders" || r.Key == paymentsKey
			if (r.Hold != nil) != held {
				t.Errorf("%s in %s is on hold: %t, want %t", c.Name, r.Region, r.Hold != nil, held)
			}
		}
	}
	wantText(t, "what completes", b.succeed(t, "__complete", "release", ""), id+"\tCHG-7", "orders\tfreeze")
	wantText(t, "the release", b.succeed(t, "release", "orders", "--by", "bo"), "Released cluster orders.", "by ana [2J: freeze", "1 other hold")
	wantText(t, "the list", b.succeed(t, "hold"), "released ", " by bo")
	wantText(t, "releasing it again", b.succeed(t, "release", "orders"), "There is no hold of cluster orders")
	wantText(t, "the other hold", b.succeed(t, "status"), "CHG-7")

	const foreign = "arn:aws:kms:us-east-1:999999999999:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f001"
	wantText(t, "a key that no cluster uses", b.succeed(t, "hold", foreign, "--reason", "r"), "knows no cluster that this is about")
}

func TestHold_isRefused(t *testing.T) {
	b := newBench(t).swept(t)
	for _, row := range []struct {
		want string
		code int
		args []string
	}{
		{"say why with --reason, in at most 500 bytes", exitUsage, []string{"hold", "orders"}},
		{"say why with --reason, in at most 500 bytes", exitUsage, []string{"hold", "orders", "--reason", strings.Repeat("x", 501)}},
		{"say who with --by", exitUsage, []string{"hold", "orders", "--reason", "r", "--by", " "}},
		{"of at most 30d", exitUsage, []string{"hold", "orders", "--reason", "r", "--for", "31d"}},
		{"of at most 30d", exitUsage, []string{"hold", "orders", "--reason", "r", "--for", "0h"}},
		{"of at most 30d", exitUsage, []string{"hold", "orders", "--reason", "r", "--for", "-1d"}},
		{"of at most 30d", exitUsage, []string{"hold", "orders", "--reason", "r", "--for", "soon"}},
		{"of at most 30d", exitUsage, []string{"hold", "orders", "--reason", "r", "--for", "99999999999999999999d"}},
		{`knows no key and no cluster "nobody"`, exitFailed, []string{"hold", "nobody", "--reason", "r"}},
		{"not of kms", exitFailed, []string{"hold", "arn:aws:s3:::b", "--reason", "r"}},
		{"knows no key and no cluster", exitFailed, []string{"hold", "alias/cmek", "--reason", "r"}},
		{"an alias names no key for good", exitFailed, []string{"hold", "arn:aws:kms:us-east-1:111122223333:alias/cmek", "--reason", "r"}},
		{"say who with --by", exitUsage, []string{"release", "orders", "--by", ""}},
	} {
		o := b.keyturn(t, row.args...)
		o.wantCode(t, row.code, row.args...)
		wantText(t, "the error", o.err, row.want)
	}
	wantText(t, "the list", b.succeed(t, "hold"), "Nothing is on hold.")
}

// What is due goes on with the release, and not before.
func TestHold_stopsFollowUntilItIsReleased(t *testing.T) {
	b := newBench(t).swept(t)
	b.keyturnWith(t.Context(), b.rotate(t, ordersKey)[0], "replay", "-").wantCode(t, exitFine)
	b.succeed(t, "hold", "orders", "--reason", "change freeze")
	o := b.keyturn(t, "follow", "--mode", "follow")
	o.wantCode(t, exitNeedsPerson, "follow")
	wantText(t, "what follow says", o.out+o.err, "On hold, ends in", "change freeze")
	if puts := b.PUTs(); len(puts) != 0 {
		t.Fatalf("PUTs are %+v, want none while orders is on hold", puts)
	}
	wantText(t, "the plan", b.keyturn(t, "plan", "--mode", "follow").out, "change freeze")
	b.succeed(t, "release", "orders")
	b.succeed(t, "follow", "--mode", "follow")
	if puts := b.PUTs(); len(puts) != 1 || puts[0].Cluster != "orders" {
		t.Errorf("PUTs are %+v, want one for orders", puts)
	}
}
