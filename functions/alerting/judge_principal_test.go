package alerting

import (
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

func TestJudge_permissions(t *testing.T) {
	const (
		allS3     = "arn:aws:iam::aws:policy/AmazonS3FullAccess"
		denyAll   = "arn:aws:iam::aws:policy/AWSDenyAll"
		keyUnread = "unclear: the policy of key " + string(key) + " could not be read"
		unread    = "unclear: the policies of " + role + " could not be read"
	)
	put := func(text string) cmek.Event { return onRole("PutRolePolicy", cmek.ChangePrincipalPolicy, text) }
	naming := func(name string, change cmek.Change, arn string) cmek.Event {
		e := onRole(name, change, "")
		e.Parameters = map[string]string{"policy_arn": arn}
		return e
	}
	denyOn := func(uri cmek.KeyURI) string {
		return strings.Replace(denyKMS, `"Resource":"*"`, `"Resource":"`+string(uri)+`"`, 1)
	}
	boundary := func(text string) cmek.Event { return onRole("PutRolePermissionsBoundary", cmek.ChangeBoundary, text) }
	boundaryOf := func(arn, text string) cmek.Event {
		e := naming("PutRolePermissionsBoundary", cmek.ChangeBoundary, arn)
		e.Policy = text
		return e
	}
	attach := func(arn string) cmek.Event { return naming("AttachRolePolicy", cmek.ChangePrincipalPolicy, arn) }
	detach := func(arn string) cmek.Event { return naming("DetachRolePolicy", cmek.ChangePrincipalPolicy, arn) }
	identity := func(e cmek.Event, p cmek.Principal) cmek.Event { e.Identity = p; return e }
	ofAccount := func(e cmek.Event, account string) cmek.Event { e.Account = account; return e }
	omitted := versionSet("", "")
	omitted.Parameters = map[string]string{"omitted": "true"}
	dormant := versionSet(denyKMS, kmsPolicy)
	delete(dormant.Parameters, "set_as_default")
	before := func(text string) func(*Documents) {
		return func(d *Documents) { d.Noted = map[string]Noted{ledger.RolePolicies(role): notedBefore(text)} }
	}
	for _, tc := range []struct {
		name  string
		event cmek.Event
		docs  Documents
		uses  []Use
		want  string
		texts []string
	}{
		{"a Deny that IAM does not show yet", put(denyKMS), allRead(), []Use{anyUse}, "cuts off", []string{"The previous policies of the role are not known."}},
		{"a Deny, and nothing was read", put(denyKMS), Documents{}, []Use{anyUse}, "cuts off", nil},
		{"a Deny on the cluster's own key", put(denyOn(key)), allRead(), []Use{anyUse}, "cuts off", nil},
		{"a Deny on another key", put(denyOn(unused)), allRead(), []Use{anyUse}, "keeps", nil},
		{"an Allow of something else", put(allowS3), allRead(), []Use{anyUse}, "keeps", nil},
		{"an Allow that the key policy needs, not shown yet", put(allowKMS), allRead(keyPolicyReads(stands(rootOnly))), []Use{anyUse}, "keeps", nil},
		{"an Allow of something else where the key policy needs one", put(allowS3), allRead(keyPolicyReads(stands(rootOnly))), []Use{anyUse}, "cuts off", nil},
		{"an Allow, and the role was not read", put(allowS3), allRead(roleReads(Document{})), []Use{anyUse}, unread, nil},
		{"an Allow, and the key policy was not read", put(allowS3), allRead(keyPolicyReads(Document{Text: goodKeyPolicy})), []Use{anyUse}, keyUnread, nil},
		{"an Allow beside a Deny that is read", put(allowS3), allRead(roleReads(stands(inline(denyKMS)))), []Use{anyUse}, "cuts off", nil},
		{"a document that cannot be understood", put("{"), allRead(roleReads(stands(inline(denyKMS)))), []Use{anyUse}, "unclear: the new document cannot be understood", nil},
		{"what was lost is said", put(denyKMS), allRead(before(noPolicies)), []Use{anyUse}, "cuts off", []string{"lost kms:Encrypt", "no previous policies of the role are not known"}},
		{"what was denied before is not said to be lost", put(denyKMS), allRead(before(inline(denyKMS))), []Use{anyUse}, "cuts off", []string{"no lost"}},

		{"a boundary that does not allow KMS", boundary(allowS3), allRead(), []Use{anyUse}, "cuts off", nil},
		{"a boundary that allows KMS", boundary(allowKMS), allRead(), []Use{anyUse}, "keeps", nil},
		{"a boundary in place of one that does not allow KMS", boundary(allowKMS), allRead(roleReads(stands(bounded(allowS3)))), []Use{anyUse}, "keeps", nil},
		{"a boundary by name, read", naming("PutRolePermissionsBoundary", cmek.ChangeBoundary, kmsPolicy), allRead(roleReads(stands(bounded(allowS3)))), []Use{anyUse}, "cuts off", nil},
		{"a boundary that AWS defines and that denies, not shown yet", naming("PutRolePermissionsBoundary", cmek.ChangeBoundary, denyAll), allRead(), []Use{anyUse}, "cuts off", nil},
		{"the boundary is taken away", naming("DeleteRolePermissionsBoundary", cmek.ChangeBoundary, denyAll), allRead(), []Use{anyUse}, "keeps", nil},

		{"AWSDenyAll is attached, and nothing was read", attach(denyAll), Documents{}, []Use{anyUse}, "cuts off", nil},
		{"AWSDenyAll is detached", detach(denyAll), allRead(), []Use{anyUse}, "keeps", nil},
		{"another policy of AWS is attached", attach(allS3), allRead(), []Use{anyUse}, "keeps", nil},
		{"a policy is attached that reads as a Deny", attach(kmsPolicy), allRead(roleReads(stands(attached(denyKMS)))), []Use{anyUse}, "cuts off", nil},
		{"a policy is detached, and the role was not read", detach(kmsPolicy), allRead(roleReads(Document{})), []Use{anyUse}, unread, nil},

		{"a version that denies of an attached policy", versionSet(denyKMS, kmsPolicy), allRead(roleReads(stands(attached(allowS3)))), []Use{anyUse}, "cuts off", nil},
		{"a version that allows of an attached policy", versionSet(allowKMS, kmsPolicy), allRead(roleReads(stands(attached(allowS3)))), []Use{anyUse}, "keeps", nil},
		{"a version that denies of the policy that is the boundary", versionSet(denyKMS, kmsPolicy), allRead(roleReads(stands(bounded(allowKMS)))), []Use{anyUse}, "cuts off", nil},
		{"a version that allows something else of the policy that is the boundary", versionSet(allowS3, kmsPolicy), allRead(roleReads(stands(bounded(allowKMS)))), []Use{anyUse}, "cuts off", nil},
		{"a version that allows of the policy that is the boundary", versionSet(allowKMS, kmsPolicy), allRead(roleReads(stands(bounded(allowS3)))), []Use{anyUse}, "keeps", nil},
		{"a boundary allows nothing by itself", versionSet(allowKMS, kmsPolicy), allRead(keyPolicyReads(stands(rootOnly)), roleReads(stands(bounded(allowS3)))), []Use{anyUse}, "cuts off", nil},
		{"a policy that is attached and the boundary", versionSet(allowKMS, kmsPolicy), allRead(keyPolicyReads(stands(rootOnly)), roleReads(stands(strings.Replace(bounded(allowS3), `"attached":{}`, `"attached":{"`+kmsPolicy+`":`+allowS3+`}`, 1)))), []Use{anyUse}, "keeps", nil},
		{"a boundary that is a policy which is attached, too", boundaryOf(kmsPolicy, allowKMS), allRead(keyPolicyReads(stands(rootOnly)), roleReads(stands(attached(allowS3)))), []Use{anyUse}, "cuts off", nil},
		{"a version that denies and names no policy", versionSet(denyKMS, ""), allRead(), []Use{anyUse}, "cuts off", nil},
		{"a version that allows something else and names no policy", versionSet(allowS3, ""), allRead(), []Use{anyUse}, "keeps", nil},
		{"a version of a policy whose name an attached one begins with", versionSet(denyKMS, kmsPolicy[:len(kmsPolicy)-1]), allRead(roleReads(stands(attached(allowS3)))), []Use{anyUse}, "unattached", nil},
		{"a version that denies of a policy of nobody", versionSet(denyKMS, kmsPolicy), allRead(), []Use{anyUse}, "unattached", nil},
		{"a version that denies, and the role was not read", versionSet(denyKMS, kmsPolicy), allRead(roleReads(Document{})), []Use{anyUse}, "cuts off", nil},
		{"a version that allows, and the role was not read", versionSet(allowKMS, kmsPolicy), allRead(roleReads(Document{})), []Use{anyUse}, unread, nil},
		{"a version of a policy that the event does not name, read as a Deny", omitted, allRead(roleReads(stands(attached(denyKMS)))), []Use{anyUse}, "cuts off", nil},
		{"a version of a policy that the event does not name", omitted, allRead(roleReads(stands(attached(allowS3)))), []Use{anyUse}, "keeps", nil},
		{"a version that is not in force", dormant, allRead(roleReads(stands(attached(allowS3)))), []Use{anyUse}, "dormant", nil},

		{"the role is named without its account", identity(put(denyKMS), "crdb-cmek"), allRead(), []Use{anyUse}, "cuts off", nil},
		{"a role of that name in another account", ofAccount(identity(put(allowS3), "crdb-cmek"), "999900001111"), allRead(roleReads(stands(inline(denyKMS)))), []Use{anyUse}, "unclear: no cluster is known to act as the principal, and its other policies", nil},
		{"a role of another name", identity(put(allowS3), "crdb-cme"), allRead(roleReads(stands(inline(denyKMS)))), []Use{anyUse}, "unclear: no cluster is known to act as the principal, and its other policies", nil},
		{"the role's ARN in another account", identity(put(allowS3), "arn:aws:iam::999900001111:role/crdb-cmek"), allRead(roleReads(stands(inline(denyKMS)))), []Use{anyUse}, "unclear: no cluster is known to act", nil},
		{"no role is named, and one of the account is denied", identity(put(""), ""), allRead(roleReads(stands(inline(denyKMS)))), []Use{anyUse}, "cuts off", nil},
		{"no role is named, and the account has none", ofAccount(identity(put(""), ""), "999900001111"), allRead(roleReads(stands(inline(denyKMS)))), []Use{anyUse}, "unclear: no cluster is known to act as the principal, and its policies", nil},

		{"no cluster is known, and it denies KMS", put(denyKMS), allRead(), nil, "cuts off", []string{role + " may not call"}},
		{"no cluster is known, and it denies KMS to a role without an ARN", identity(put(denyKMS), "crdb-cmek"), allRead(), nil, "cuts off", []string{role + " may not call"}},
		{"no cluster is known, and it denies KMS to no role by name", identity(put(denyKMS), ""), allRead(), nil, "cuts off", []string{"Whoever has the policy may not call"}},
		{"no cluster is known, and it denies one key", put(denyOn(key)), allRead(), nil, "unclear: no cluster is known", nil},
		{"no cluster is known, and it allows", put(allowKMS), allRead(), nil, "unclear: no cluster is known to act as the principal, and its other policies", nil},
		{"no cluster is known, and the boundary does not allow KMS", boundary(allowS3), allRead(), nil, "unclear: no cluster is known", nil},
		{"no cluster is known, and the event has no document", put(""), allRead(), nil, "unclear: no cluster is known to act as the principal, and its policies", nil},
		{"no cluster is known, nor the account", ofAccount(identity(put(denyKMS), ""), ""), allRead(), nil, "unclear: no cluster is known to act as the principal, and its policies", nil},
	} {
		got := Judge(tc.event, tc.docs, tc.uses)
		wantEffect(t, tc.name, got, tc.want, tc.texts...)
		// What is read may not show the change yet, unless nothing is read because the event cannot matter or be understood.
		if readable := tc.event.Policy != "{" && !got.Dormant; got.Stale != readable {
			t.Errorf("%s: that it rests on reads of what was changed is %t", tc.name, got.Stale)
		}
	}
}

// What stood before a change of a role is noted by the sweep: before the event, or after it with the document before kept.
func TestJudge_permissionsBefore(t *testing.T) {
	const was, is = `{"inline":{"was":` + allowS3 + `},"attached":{}}`, `{"inline":{"is":` + denyKMS + `},"attached":{}}`
	for name, tc := range map[string]struct {
		noted Noted
		want  string
	}{
		"noted before the event":                           {Noted{Text: was, Since: eventTime.Add(-time.Hour)}, was},
		"noted before the event, as it is now":             {Noted{Text: is, Earlier: was, Since: eventTime.Add(-time.Hour)}, is},
		"noted at the event's own time":                    {Noted{Text: is, Earlier: was, Since: eventTime}, is},
		"noted after the event, as it is now":              {Noted{Text: is, Earlier: was, Since: eventTime.Add(time.Second)}, was},
		"noted after the event, and not as it is now":      {Noted{Text: was, Earlier: is, Since: eventTime.Add(time.Second)}, was},
		"noted after the event, with nothing noted before": {Noted{Text: is, Since: eventTime.Add(time.Second)}, ""},
		"never noted": {Noted{}, ""},
		"garbled":     {Noted{Text: "{", Since: eventTime.Add(-time.Hour)}, ""},
	} {
		docs := allRead(roleReads(stands(is)), func(d *Documents) { d.Noted = map[string]Noted{ledger.RolePolicies(role): tc.noted} })
		got := Judge(onRole("PutRolePolicy", cmek.ChangePrincipalPolicy, denyKMS), docs, []Use{anyUse})
		if got.Previous != tc.want {
			t.Errorf("%s: the policies before are %q, want %q", name, got.Previous, tc.want)
		}
	}
}

// A deleted role cuts its clusters off whatever the documents say; the one to make again is known by what was noted of it.
func TestJudge_principalDeleted(t *testing.T) {
	const withPath, elsewhere = cmek.Principal("arn:aws:iam::111122223333:role/db/crdb-cmek"), cmek.Principal("arn:aws:iam::999900001111:role/crdb-cmek")
	deleted := calls("iam", "DeleteRole", cmek.ChangePrincipalDeleted, func(e *cmek.Event) { e.Identity = "crdb-cmek" })
	noted := func(roles ...cmek.Principal) Documents {
		d := Documents{Noted: map[string]Noted{}}
		for _, p := range roles {
			d.Noted[string(p)], d.Noted[ledger.RolePolicies(p)] = Noted{Text: "trust of " + string(p)}, Noted{Text: "policies of " + string(p)}
		}
		return d
	}
	by := func(roles ...cmek.Principal) (uses []Use) {
		for _, p := range roles {
			uses = append(uses, useBy(string(p), key, crlAccount))
		}
		return uses
	}
	for name, tc := range map[string]struct {
		docs           Documents
		uses           []Use
		role           cmek.Principal
		previous, perm string
	}{
		"noted":                           {noted(role), by(role), role, "trust of " + role, "policies of " + role},
		"not noted":                       {noted(), by(role), role, "", ""},
		"nobody acts as it":               {noted(role), nil, "", "", ""},
		"of another account":              {noted(elsewhere), by(elsewhere), "", "", ""},
		"the second of its name is noted": {noted(withPath), by(role, withPath), withPath, "trust of " + string(withPath), "policies of " + string(withPath)},
		"the first of its name is noted":  {noted(role, withPath), by(role, withPath), role, "trust of " + role, "policies of " + role},
	} {
		got := Judge(deleted, tc.docs, tc.uses)
		wantEffect(t, name, got, "cuts off")
		if got.Role != tc.role || got.Previous != tc.previous || got.Permissions != tc.perm {
			t.Errorf("%s: %q, %q, %q; want %q, %q, %q", name, got.Role, got.Previous, got.Permissions, tc.role, tc.previous, tc.perm)
		}
	}
}

// A version that is not the default one is not in force, unless the call may have made it so.
func TestJudge_dormantVersion(t *testing.T) {
	e := versionSet(denyKMS, kmsPolicy)
	for _, tc := range []struct {
		parameter, value string
		dormant          bool
	}{{"set_as_default", "", true}, {"set_as_default", "false", true}, {"set_as_default", "true", false}, {"omitted", "true", false}} {
		e.Parameters = map[string]string{"policy_arn": kmsPolicy, tc.parameter: tc.value}
		if got := Judge(e, Documents{}, []Use{anyUse}); got.Dormant != tc.dormant || got.Keeps() != tc.dormant {
			t.Errorf("%s %q: %s", tc.parameter, tc.value, outcome(got))
		}
	}
}
