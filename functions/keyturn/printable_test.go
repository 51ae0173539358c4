package main

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/local"
)

// hostile clears a screen, sets a title, changes the direction, begins a line, and rings, in characters of one byte and of two.
const hostile = "\x1b[2J\x1b]0;x\x07\u202e\u009b2J\r\nfake line\u2028"

// taint fills every string within v that can be set, and every empty list with an item.
func taint(v reflect.Value, depth int) {
	if depth > 12 {
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() && v.CanSet() && v.Type().Elem().Kind() == reflect.Struct {
			v.Set(reflect.New(v.Type().Elem()))
		}
		if !v.IsNil() {
			taint(v.Elem(), depth+1)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				taint(v.Field(i), depth+1)
			}
		}
	case reflect.Slice:
		if v.Len() == 0 && v.CanSet() && v.Type().Elem().Kind() != reflect.Uint8 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		}
		for i := range v.Len() {
			taint(v.Index(i), depth+1)
		}
	case reflect.String:
		if v.CanSet() {
			v.SetString(v.String() + hostile)
		}
	}
}

func TestNothingOfATamperedLedgerReachesTheTerminalAsItIs(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "ledger.db")
	store, err := local.OpenStore(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	l := ledger.New(store, rand.New(rand.NewPCG(1, 2)))
	tamper(t, l)
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	b := &bench{environ: []string{"KEYTURN_LEDGER=file:" + path}}
	for _, args := range [][]string{
		{"status"}, {"status", "c1" + hostile}, {"status", "c1"}, {"alerts"}, {"alerts", "key-unusable/x" + hostile}, {"alerts", "key"}, {"alerts", "nobody" + hostile},
		{"alerts", "close", "key-unusable/x" + hostile, "--reason", "r"}, {"hold", "c1" + hostile, "--reason", "r" + hostile}, {"hold"}, {"release", "n" + hostile}, {"release", "x" + hostile},
		{"__complete", "status", ""}, {"__complete", "status", "c"}, {"__complete", "alerts", ""}, {"__complete", "hold", ""}, {"__complete", "release", ""},
		{"explain", "missing" + hostile}, {"forget", "c1" + hostile, "--reason", "r"}, {"retry", "c1" + hostile},
	} {
		for _, form := range [][]string{nil, {"-o", "json"}} {
			all := append(append([]string(nil), args...), form...)
			o := b.keyturn(t, all...)
			for what, text := range map[string]string{"standard output": o.out, "standard error": o.err} {
				for _, r := range text {
					if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
						t.Errorf("keyturn %q: %s has %q:\n%q", all, what, r, text)
						break
					}
				}
				if strings.Contains(text, "\nfake line") {
					t.Errorf("keyturn %q: %s has a line that somebody else wrote:\n%s", all, what, text)
				}
			}
		}
	}
}

// tamper writes items whose every field is hostile.
func tamper(t *testing.T, l *ledger.Ledger) {
	t.Helper()
	ctx, now := t.Context(), time.Now()
	key := cmek.KeyURI("arn:aws:kms:us-east-1" + hostile + ":111122223333:key/abc" + hostile)
	_, err := l.UpdateCluster(ctx, "c1"+hostile, func(c *ledger.Cluster) error {
		id := c.ID
		c.Work = []ledger.Work{
			{Region: "r1", State: ledger.Requested, Since: now, Request: &ledger.Request{Intent: now, StuckSince: now}},
			{Region: "r2", State: ledger.Blocked, Since: now}, {Region: "r3", Since: now, Failed: 2},
		}
		taint(reflect.ValueOf(c).Elem(), 0)
		c.ID, c.SeenAt, c.NextLook = id, now, now.Add(time.Hour)
		c.Work[1].State = ledger.Blocked
		c.Unread.Since = now
		for i := range c.CMEK.RegionInfos {
			for j := range c.CMEK.RegionInfos[i].KeyInfos {
				c.CMEK.RegionInfos[i].KeyInfos[j].Spec.URI = key
				c.CMEK.RegionInfos[i].KeyInfos[j].Status = cmek.Enabled
			}
		}
		for i := range c.Alarms {
			c.Alarms[i].Alert.Severity = alert.Critical
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, severity := range []alert.Severity{alert.Critical, "critical" + hostile} {
		_, err = l.UpdateIncident(context.WithoutCancel(ctx), "key-unusable/x"+string(severity[8:])+hostile, func(i *ledger.Incident) error {
			dedupKey := i.DedupKey
			taint(reflect.ValueOf(i).Elem(), 0)
			i.DedupKey, i.Opened, i.NextLook, i.Closed = dedupKey, now, now.Add(time.Hour), time.Time{}
			i.Alert.Severity, i.Alert.Key = severity, key
			i.Closing = ledger.Closing{}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Hold(ctx, cmek.Hold{Key: key, By: "b" + hostile, Reason: "r" + hostile, Since: now, Until: now.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Hold(ctx, cmek.Hold{ClusterID: "c2" + hostile, Cluster: "n" + hostile, Reason: "r" + hostile, Since: now, Until: now.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
}
