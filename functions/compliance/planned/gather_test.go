package planned_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/functions/compliance/planned"
	"github.com/keyturn/keyturn/internal/cmek"
)

// cloud is what can be read: documents by name, and keys. asked are the documents that were asked for.
type cloud struct {
	documents map[string]string
	keys      map[cmek.KeyURI]checks.Key
	asked     []string
}

func (c *cloud) Document(_ context.Context, name string) (string, bool) {
	c.asked = append(c.asked, name)
	text, ok := c.documents[name]
	return text, ok
}

func (c *cloud) Key(_ context.Context, uri cmek.KeyURI) checks.Key { return c.keys[uri] }

func judged(t *testing.T, known planned.Known, from *cloud, changes ...resource) planned.Report {
	t.Helper()
	p, err := planned.Parse(planOf(changes...))
	if err != nil {
		t.Fatal(err)
	}
	known.Now = now
	known = planned.Read(t.Context(), p, known, from)
	return planned.Judge(p, known)
}

func wantSaid(t *testing.T, what string, r planned.Report, want ...string) {
	t.Helper()
	if got := said(r); !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func TestRead_whatStandsAroundAChange(t *testing.T) {
	known := inventory(keyARN, roleARN, cluster)
	emptied := resource{address: "aws_iam_policy.kms", before: object{"arn": policyARN, "policy": byIAM}, after: object{"arn": policyARN, "policy": document(statement("Allow", nil, "s3:*", "*"))}}
	having := `{"inline":{},"attached":{"` + policyARN + `":` + byIAM + `},"boundary":{}}`
	byRootOnly := document(byRoot)

	from := &cloud{documents: map[string]string{keyARN: byRootOnly, roleARN + "#policies": having}}
	wantSaid(t, "a managed policy of the role", judged(t, known, from, emptied), "FAIL cuts off aws_iam_policy.kms")
	if again := len(from.asked); again != len(unique(from.asked)) {
		t.Errorf("%d documents were read twice: %q", again-len(unique(from.asked)), from.asked)
	}
	from = &cloud{documents: map[string]string{keyARN: byRootOnly, roleARN + "#policies": `{"inline":{"x":` + byIAM + `},"attached":{"` + policyARN + `":` + byIAM + `}}`}}
	wantSaid(t, "another policy grants it, too", judged(t, known, from, emptied))
	from = &cloud{documents: map[string]string{keyARN: byRootOnly, roleARN + "#policies": `{"inline":{"x":` + byIAM + `}}`}}
	wantSaid(t, "the role does not have it", judged(t, known, from, emptied))
	wantSaid(t, "the role's policies cannot be read", judged(t, known, &cloud{}, emptied), "ERROR not judged aws_iam_policy.kms")

	gKnown := inventory(keyName, email, "crl-prod-abc")
	taken := gone("google_kms_crypto_key_iam_member.cluster", gMember)
	allows := func(members ...string) string {
		return text(object{"version": 1, "etag": "a", "bindings": []any{object{"role": user, "members": members}}})
	}
	from = &cloud{documents: map[string]string{keyName: allows("serviceAccount:" + email), ring: allows("serviceAccount:" + email)}}
	wantSaid(t, "the ring admits it", judged(t, gKnown, from, taken))
	from = &cloud{documents: map[string]string{keyName: allows("serviceAccount:" + email), ring: allows("serviceAccount:other@customer-keys.iam.gserviceaccount.com")}}
	wantSaid(t, "the ring admits another", judged(t, gKnown, from, taken), "FAIL cuts off google_kms_crypto_key_iam_member.cluster")
	from = &cloud{documents: map[string]string{keyName: allows("serviceAccount:" + email), "projects/customer-keys#parents": `["folders/7"]`, "folders/7": allows("serviceAccount:" + email)}}
	wantSaid(t, "a folder admits it", judged(t, gKnown, from, taken))
	from = &cloud{documents: map[string]string{keyName: allows("serviceAccount:" + email), "projects/customer-keys#parents": `["folders/7"]`, "folders/7": allows("serviceAccount:" + email),
		"projects/customer-keys#denies": text([]any{object{"name": "d", "rules": []any{object{"denyRule": object{"deniedPrincipals": []string{"principalSet://goog/public:all"}, "deniedPermissions": []string{"cloudkms.googleapis.com/cryptoKeyVersions.useToDecrypt"}}}}}})}}
	wantSaid(t, "it was denied before", judged(t, gKnown, from, taken))
}

// A key may be destroyed only where it is proven that nothing needs it.
func TestRead_aKeyThatMayGo(t *testing.T) {
	deleted := resource{address: "aws_kms_key.orders", before: key}
	known := inventory(keyARN, roleARN, cluster)
	known.Inventory.Uses[0].Status, known.Inventory.Uses[0].Until = cmek.Disabled, now.Add(-400*24*time.Hour)
	d := checks.Description{}
	d.State = cmek.KeyEnabled
	k := checks.Key{URI: keyARN, Description: checks.Known(d, now, "x"), Uses: checks.Known([]checks.Use{known.Inventory.Uses[0].Use}, now, "x"),
		Retention: checks.Known(30*24*time.Hour, now, "x"), Grants: checks.Known([]checks.KeyGrant(nil), now, "x"),
		LastUse: checks.Known(checks.LastUse{At: now.Add(-401 * 24 * time.Hour), Tracked: now.Add(-500 * 24 * time.Hour)}, now, "x")}
	wantSaid(t, "nothing needs it", judged(t, known, &cloud{keys: map[cmek.KeyURI]checks.Key{keyARN: k}}, deleted))
	k.Retention = checks.Known(500*24*time.Hour, now, "x")
	r := judged(t, known, &cloud{keys: map[cmek.KeyURI]checks.Key{keyARN: k}}, deleted)
	wantSaid(t, "a backup needs it", r, "FAIL destroys aws_kms_key.orders")
	if !strings.Contains(r.Findings[0].Why, "retention") {
		t.Error(r.Findings[0].Why)
	}
	k.Retention = checks.Unread[time.Duration]("x", "no", "")
	wantSaid(t, "the retention is not known", judged(t, known, &cloud{keys: map[cmek.KeyURI]checks.Key{keyARN: k}}, deleted), "ERROR destroys aws_kms_key.orders")
	wantSaid(t, "the key was not read", judged(t, known, &cloud{}, deleted), "ERROR destroys aws_kms_key.orders")
}

// An inventory that lacks clusters counts like none beside what it has.
func TestInventory_thatIsNotComplete(t *testing.T) {
	known := inventory("arn:aws:kms:us-east-1:111122223333:key/00000000-0000-0000-0000-000000000009", "arn:aws:iam::111122223333:role/other", cluster)
	change := onKey(object{"policy": document(byRoot)})
	wantSaid(t, "complete", judge(t, planOf(change, sameRole), known))
	known.Inventory.Incomplete = "the keys of cluster x are not known"
	r := judge(t, planOf(change, sameRole), known)
	wantSaid(t, "not complete", r, "FAIL cuts off aws_kms_key.orders")
	if !strings.Contains(r.Inventory, "the keys of cluster x are not known") || !strings.Contains(r.Inventory, "assumed") {
		t.Error(r.Inventory)
	}
}

func TestForPrincipal_whatTheDocumentIs(t *testing.T) {
	known := inventory(keyARN, roleARN, cluster)
	known.OrganizationID = "org-1"
	known.Documents = map[string]string{roleARN: trusting(cluster, "org-1"), keyARN: forRole}
	known.Now = now
	for text, want := range map[string][]string{
		trusting(cluster, "org-1"):        nil,
		trusting("999999999999", "org-1"): {"FAIL cuts off x.json", "FAIL exposes x.json"},
		byIAM:                             nil,
		document(statement("Deny", nil, "kms:Decrypt", "*")):   {"FAIL cuts off x.json"},
		document(statement("Deny", nil, "s3:GetObject", "*")):  nil,
		document(statement("Allow", nil, "s3:GetObject", "*")): nil,
	} {
		p, err := planned.ForPrincipal("x.json", roleARN, text)
		if err != nil {
			t.Error(err)
			continue
		}
		wantSaid(t, text, planned.Judge(p, known), want...)
	}
	for text, why := range map[string]string{
		"{": "x.json",
		document(statement("Allow", nil, "*", "*"), byRole): "some statements name principals",
	} {
		if _, err := planned.ForPrincipal("x.json", roleARN, text); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, principal := range []cmek.Principal{"somebody", "arn:aws:iam::111122223333:user/x"} {
		if _, err := planned.ForPrincipal("x.json", principal, byIAM); err == nil {
			t.Errorf("%s is taken", principal)
		}
	}
	gKnown := inventory(keyName, email, "crl-prod-abc")
	gKnown.Now = now
	gKnown.Documents = map[string]string{account: text(object{"version": 1, "etag": "a", "bindings": []any{object{"role": minter, "members": []string{crl}}}})}
	for members, want := range map[string][]string{crl: nil, "user:a@example.com": {"FAIL cuts off x.json", "FAIL exposes x.json"}} {
		p, err := planned.ForPrincipal("x.json", email, text(object{"bindings": []any{object{"role": minter, "members": []string{members}}}}))
		if err != nil {
			t.Fatal(err)
		}
		wantSaid(t, members, planned.Judge(p, gKnown), want...)
	}
	for key, text := range map[cmek.KeyURI]string{keyARN: "{", keyName: "{}", "https://v.vault.azure.net/keys/k/1": "{}"} {
		if _, err := planned.ForKey("x.json", key, text); err == nil {
			t.Errorf("%s takes %s", key, text)
		}
	}
}

func unique(list []string) []string { return slices.Compact(slices.Sorted(slices.Values(list))) }
