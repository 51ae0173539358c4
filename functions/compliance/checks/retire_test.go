package checks

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// deletedCluster adds a use by a cluster that was deleted.
func deletedCluster(at time.Time) func(*Key) {
	return func(k *Key) {
		u := useOf("former", "former", "us-east1", k.URI, account, at)
		u.Deleted = at
		k.Uses.Value = append(k.Uses.Value, u)
	}
}

func TestRetire(t *testing.T) {
	none := func(*Key) {}
	used := func(at time.Time) func(*Key) {
		return func(k *Key) { k.LastUse.Value = LastUse{At: at, Operation: "Decrypt", Tracked: ago(250 * oneDay)} }
	}
	for _, tt := range []struct {
		name    string
		key     int // in the good fleet
		version string
		change  func(*Key)
		want    Permission
		date    time.Time
		why     string
	}{
		// Whole keys. The past ones were left 20 and 200 days ago, and backups are kept for 30 days.
		{"in use", 0, "", none, Never, time.Time{}, "cluster orders uses it in us-east-1"},
		{"in use twice", 0, "", func(k *Key) {
			other := k.Uses.Value[0]
			other.ClusterName, other.ClusterID, other.Region = "payments", "p", "us-west-2"
			k.Uses.Value = append(k.Uses.Value, other)
		}, Never, time.Time{}, "cluster orders uses it in us-east-1 (ENABLED); cluster payments uses it in us-west-2 (ENABLED)"},
		{"in use by Google's cluster", 5, "", none, Never, time.Time{}, "cluster payments uses it"},
		{"revoked", 2, "", func(k *Key) { k.Uses.Value[0].Status = cmek.Revoked }, Never, time.Time{}, "REVOKED"},
		{"an unknown status", 2, "", func(k *Key) { k.Uses.Value[0].Status = "SHINY" }, Never, time.Time{}, "SHINY"},
		{"left 20 days ago, used until then", 2, "", used(ago(20 * oneDay)), NotBefore, now.Add(10 * oneDay), "left it on 2026-11-09"},
		{"left 20 days ago, used since", 2, "", used(ago(oneDay)), NotBefore, now.Add(29 * oneDay), "after the last cluster left it"},
		{"a use just after it was left", 2, "", used(ago(20*oneDay - 9*time.Minute)), NotBefore, now.Add(10 * oneDay), ""},
		{"left 200 days ago, used 150 days ago", 7, "", none, NotBefore, ago(120 * oneDay), "it was used on 2026-07-02"},
		{"left 200 days ago, uses recorded since 100", 7, "", func(k *Key) { k.LastUse.Value = LastUse{Tracked: ago(100 * oneDay)} }, NotBefore, ago(70 * oneDay), "recorded since 2026-08-21"},
		{"a longer retention", 7, "", func(k *Key) { k.Retention.Value = 365 * oneDay }, NotBefore, now.Add(215 * oneDay), "365 days"},
		{"a replica in use elsewhere", 1, "", func(k *Key) {
			k.Uses.Value[1].Status, k.Uses.Value[1].Until = cmek.Disabled, ago(60*oneDay)
			used(ago(60 * oneDay))(k)
		}, NotBefore, ago(30 * oneDay), ""},
		{"a primary whose replica is in use", 0, "", func(k *Key) { k.Uses.Value[0].Status, k.Uses.Value[0].Until = cmek.Disabled, ago(60*oneDay) }, Never, time.Time{}, "primary key of"},
		{"left long ago, and by a cluster that was deleted 364 days ago", 7, "", deletedCluster(ago(364 * oneDay)), NotKnown, time.Time{}, "cluster former used it in us-east1 and was deleted on 2025-11-30"},
		{"left long ago, and by a cluster that was deleted 366 days ago", 7, "", deletedCluster(ago(366 * oneDay)), NotBefore, ago(120 * oneDay), ""},
		{"in use, and by a deleted cluster", 5, "", deletedCluster(ago(oneDay)), Never, time.Time{}, "cluster payments uses it"},
		{"a version of a key that a deleted cluster used", 5, "1", deletedCluster(ago(oneDay)), NotKnown, time.Time{}, "cluster former used it"},
		{"a version of a key that a cluster used which was deleted long ago", 5, "1", deletedCluster(ago(366 * oneDay)), NotBefore, now.Add(21 * oneDay), ""},
		{"no cluster names it", 7, "", func(k *Key) { k.Uses.Value = nil }, NotKnown, time.Time{}, "no cluster names the key"},
		{"not known when it was left", 7, "", func(k *Key) { k.Uses.Value[0].Until = time.Time{} }, NotKnown, time.Time{}, "not known when cluster payments left it"},
		{"no retention", 7, "", func(k *Key) { k.Retention.Value = 0 }, NotKnown, time.Time{}, "retention"},
		{"a grant", 3, "", grant("arn:aws:iam::111122223333:role/app", ago(oneDay), "Decrypt"), NotKnown, time.Time{}, "grant g1"},
		{"uses not recorded", 7, "", func(k *Key) { k.LastUse.Value = LastUse{} }, NotKnown, time.Time{}, "since when uses"},

		// Versions of Google: version 3 is the primary, and the store key was re-encrypted under it 9 days ago.
		{"the primary version", 5, "3", none, Never, time.Time{}, "cluster payments uses it"},
		{"the version before", 5, "2", none, NotBefore, now.Add(21 * oneDay), "did so on 2026-11-20"},
		{"the store key is still under it", 5, "2", func(k *Key) { k.Uses.Value[0].Done = primary("2") }, Never, time.Time{}, "is encrypted under it"},
		{"a newer one than that of the store key", 5, "2", func(k *Key) { k.Uses.Value[0].Done = primary("1") }, Never, time.Time{}, "newer than the version"},
		{"one region knows nothing", 5, "1", func(k *Key) { k.Uses.Value[0].Done = cmek.KeyVersion{} }, NotKnown, time.Time{}, "not known which version"},
		{"a version that the KMS does not show", 5, "9", none, NotKnown, time.Time{}, "does not show version 9"},
		{"the region's version is not shown", 5, "1", func(k *Key) { k.Uses.Value[0].Done = primary("9") }, NotKnown, time.Time{}, "does not show the version that"},
		{"a version of a key that was left", 7, "2", none, NotBefore, ago(170 * oneDay), ""},
		{"a version of a key of AWS", 3, "x", none, Never, time.Time{}, "ask about the key"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			facts, _ := goodFleet()
			k := facts.Keys[tt.key]
			tt.change(&k)
			var v cmek.KeyVersion
			if tt.version != "" {
				v = primary(tt.version)
			}
			got := Retire(k, v, now)
			if got.Permission != tt.want || !got.NotBefore.Equal(tt.date) || !strings.Contains(strings.Join(got.Reasons, "; "), tt.why) {
				t.Errorf("%s %s: %q, want %s %s: %q", got.Permission, got.NotBefore, got.Reasons, tt.want, tt.date, tt.why)
			}
			if len(got.Reasons) == 0 || got.Allowed(now) != (tt.want == NotBefore && !tt.date.After(now)) {
				t.Errorf("allowed: %t, %q", got.Allowed(now), got.Reasons)
			}
		})
	}
}

// Of a key that may go, each fact that is lost takes the yes away, and names the missing permission.
func TestRetire_keeps_what_is_not_proven(t *testing.T) {
	for _, i := range []int{3, 7} {
		facts, _ := goodFleet()
		if r := Retire(facts.Keys[i], cmek.KeyVersion{}, now); !r.Allowed(now) {
			t.Fatalf("%+v", r)
		}
		for name, of := range map[string]func(*Key) *Reading{
			"uses":        func(k *Key) *Reading { return &k.Uses.Reading },
			"description": func(k *Key) *Reading { return &k.Description.Reading },
			"retention":   func(k *Key) *Reading { return &k.Retention.Reading },
			"last use":    func(k *Key) *Reading { return &k.LastUse.Reading },
			"grants":      func(k *Key) *Reading { return &k.Grants.Reading },
		} {
			if name == "grants" && cloudOf(facts.Keys[i].URI) == GCP {
				continue // there are none
			}
			for _, loss := range []Reading{{}, {Unread: "denied", Grant: "kms:X"}, {ReadAt: ago(3 * time.Hour)}, {ReadAt: now.Add(time.Hour)}} {
				k := facts.Keys[i]
				*of(&k) = loss
				r := Retire(k, cmek.KeyVersion{}, now)
				if r.Permission != NotKnown || loss.Grant != "" && !slices.Contains(r.Grants, loss.Grant) {
					t.Errorf("%s without %s: %+v", k.URI, name, r)
				}
			}
		}
	}
	if r := Retire(Key{URI: past}, cmek.KeyVersion{}, now); r.Permission != NotKnown {
		t.Errorf("nothing known: %+v", r)
	}
}

// A key of which it was read that no cluster names it, now or in the past, and that nothing else ties to one, is no matter of CMEK. It is not
// known whether it may go, all the same.
func TestRetire_tells_keys_of_no_cluster(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Key)
		want   bool
		why    string
	}{
		{"nothing ties it to a cluster", func(*Key) {}, true, "none names the key, now or in the past"},
		{"nothing, and the KMS says nothing of it", func(k *Key) {
			k.Description, k.LastUse, k.Grants = Unread[Description]("x", "denied", "kms:DescribeKey"), Unread[LastUse]("x", "denied", ""), Unread[[]KeyGrant]("x", "denied", "")
		}, true, "ties the key to a cluster"},
		{"the ledger knows it", func(k *Key) { k.Ties.Value = []string{"the ledger knows it of cluster old"} }, false, "the ledger knows it of cluster old"},
		{"what ties it was not read", func(k *Key) { k.Ties = Fact[[]string]{} }, false, "what else ties the key to a cluster"},
		{"what ties it could not be read", func(k *Key) { k.Ties = Unread[[]string]("ledger", "no answer", "") }, false, "no answer"},
		{"not all clusters were read", func(k *Key) { k.Uses = Unread[[]Use]("x", "the keys of cluster x are not known", "") }, false, "the keys of cluster x are not known"},
		{"the clusters were read long ago", func(k *Key) { k.Uses.ReadAt = ago(5 * oneDay) }, false, "uses of the key"},
		{"a cluster uses a related key", func(k *Key) {
			k.Uses.Value = []Use{{ClusterName: "a", Spec: cmek.KeySpec{URI: past}, Status: cmek.Enabled}}
		}, false, "no cluster names the key"},
	} {
		facts, _ := goodFleet()
		k := facts.Keys[2]
		k.URI, k.Uses, k.Ties = "arn:aws:kms:us-east-1:111122223333:key/00000000-0000-0000-0000-00000000000f", Known[[]Use](nil, now, "x"), Known[[]string](nil, now, "x")
		tt.change(&k)
		r := Retire(k, cmek.KeyVersion{}, now)
		if r.Permission != NotKnown || r.Unrelated != tt.want || !strings.Contains(strings.Join(r.Reasons, "; "), tt.why) {
			t.Errorf("%s: %+v, want unrelated %t, %q", tt.name, r, tt.want, tt.why)
		}
	}
}
