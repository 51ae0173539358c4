package alerting

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/events"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// What keeps clusters from their keys, and what only looks like it: each row goes from the provider's record to the alert.

const (
	nextKey = cmek.KeyURI("arn:aws:kms:us-east-1:111122223333:key/99999999-12ab-34cd-56ef-1234567890ab")
	mrkEast = cmek.KeyURI("arn:aws:kms:us-east-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab")
	mrkWest = cmek.KeyURI("arn:aws:kms:us-west-2:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab")
)

// leftOut is what CloudTrail writes in place of request parameters of more than 100 KB.
var leftOut = map[string]any{"reason": "requestParameters too large", "omitted": true, "originalSize": 118000}

// call decodes the record of a call as EventBridge delivers it.
func call(t *testing.T, service, name string, parameters any, on cmek.KeyURI) cmek.Event {
	t.Helper()
	p, err := json.Marshal(parameters)
	if err != nil {
		t.Fatal(err)
	}
	resources := "null"
	if on != "" {
		resources = `[{"type":"AWS::KMS::Key","ARN":"` + string(on) + `"}]`
	}
	list, err := events.Decode(fmt.Appendf(nil, `{"version":"0","id":"e","detail-type":"AWS API Call via CloudTrail","source":"aws.%s","account":"%s","region":"us-east-1","time":"2000-01-01T00:00:00Z","detail":{"eventVersion":"1.11","userIdentity":{"type":"IAMUser","arn":"%s","accountId":"%s"},"eventTime":"2000-01-01T00:00:00Z","eventSource":"%s.amazonaws.com","eventName":"%s","awsRegion":"us-east-1","requestParameters":%s,"eventID":"e1","resources":%s,"eventType":"AwsApiCall","recipientAccountId":"%s"}}`,
		service, account, ana, account, service, name, p, resources, account))
	if err != nil || len(list) != 1 {
		t.Fatalf("decode %s: %v, %v", name, list, err)
	}
	return list[0]
}

func putKeyPolicy(t *testing.T, on cmek.KeyURI, policy string) cmek.Event {
	return call(t, "kms", "PutKeyPolicy", map[string]any{"keyId": string(on), "policyName": "default", "policy": policy}, on)
}

func putRolePolicy(t *testing.T, document string) cmek.Event {
	return call(t, "iam", "PutRolePolicy", map[string]any{"roleName": "crdb-cmek", "policyName": "x", "policyDocument": document}, "")
}

// uses sets the key infos of cluster orders.
func (w *world) uses(infos ...cmek.KeyInfo) {
	w.t.Helper()
	if _, err := w.Ledger.UpdateCluster(w.t.Context(), "c-1", func(c *ledger.Cluster) error {
		c.CMEK.RegionInfos = []cmek.RegionInfo{{Region: "us-east-1", KeyInfos: infos}}
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
}

func as(uri cmek.KeyURI, status cmek.Status) cmek.KeyInfo {
	return cmek.KeyInfo{Spec: cmek.KeySpec{Type: cmek.AWSKMS, URI: uri, AuthPrincipal: role}, Status: status}
}

// noted: a sweep saw the document an hour before the events.
func (w *world) noted(name, document string) {
	w.t.Helper()
	was, err := w.Ledger.PolicyNoted(w.t.Context(), name)
	if err == nil {
		err = w.Ledger.NotePolicy(w.t.Context(), name, document, was)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

const allClear = "can still use the key"

// wantCut: critical, an open incident, and no all-clear.
func (w *world) wantCut() {
	w.t.Helper()
	a := w.last()
	if a.Severity != alert.Critical || len(w.open()) == 0 || strings.Contains(a.Impact, "The clusters "+allClear) {
		w.t.Errorf("got %s | %s | open %v; want critical, an open incident, no all-clear", a.Headline(), a.Impact, w.open())
	}
}

// wantUnclear: at least high, saying what could not be read.
func (w *world) wantUnclear(unread string) {
	w.t.Helper()
	a := w.last()
	if !a.Severity.AtLeast(alert.High) || strings.Contains(a.Impact, "The clusters "+allClear) || !strings.Contains(a.Impact, unread) {
		w.t.Errorf("got %s | %s; want at least high, no all-clear, and that %q could not be read", a.Headline(), a.Impact, unread)
	}
}

func (w *world) wantAtMost(most alert.Severity) {
	w.t.Helper()
	for _, a := range w.told.Alerts() {
		if a.Severity.Above(most) {
			w.t.Errorf("got %s | %s; want at most %s", a.Headline(), a.Impact, most)
		}
	}
}

// unreadable denies some reads of policies.
type unreadable struct {
	cmek.Policies
	keyPolicy, role, trust bool
}

func denied(yes bool) error {
	if yes {
		return fmt.Errorf("read policy: %w", cmek.ErrDenied)
	}
	return nil
}

func (u unreadable) Document(ctx context.Context, name string) (string, error) {
	isRolePolicies := strings.HasSuffix(name, ledger.RolePolicies(""))
	if err := denied(isRolePolicies && u.role || isRole(name) && u.trust || !isRolePolicies && !isRole(name) && u.keyPolicy); err != nil {
		return "", err
	}
	return u.Policies.Document(ctx, name)
}

func TestLockout(t *testing.T) {
	plus := func(statement string) string { return strings.TrimSuffix(goodKeyPolicy, "]}") + "," + statement + "]}" }
	for _, tc := range []struct {
		name string
		test func(t *testing.T, w *world)
	}{
		{"the clusters' statement is removed, the account's stays, the role has no policy", func(t *testing.T, w *world) {
			w.noted(string(key), goodKeyPolicy)
			w.kms.keyPolicy, w.kms.rolePolicies = rootOnly, noPolicies
			w.happens(putKeyPolicy(t, key, rootOnly))
			w.wantCut()
		}},
		{"the clusters' statement is removed, and the role's own policy allows it", func(t *testing.T, w *world) {
			w.noted(string(key), goodKeyPolicy)
			w.kms.keyPolicy, w.kms.rolePolicies = rootOnly, `{"inline":{"use":{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*"}]}},"attached":{}}`
			w.happens(putKeyPolicy(t, key, rootOnly))
			w.wantAtMost(alert.Medium)
		}},
		{"the clusters' statement is removed, and the role cannot be read", func(t *testing.T, w *world) {
			w.noted(string(key), goodKeyPolicy)
			w.Policies = unreadable{Policies: w.kms, role: true}
			w.happens(putKeyPolicy(t, key, rootOnly))
			w.wantUnclear("the policies of " + role)
		}},
		{"key policy while ENABLING", func(t *testing.T, w *world) {
			w.uses(as(key, cmek.Enabling))
			w.noted(string(key), goodKeyPolicy)
			w.happens(putKeyPolicy(t, key, adminOnly))
			w.wantCut()
		}},
		{"role policy while ENABLING", func(t *testing.T, w *world) {
			w.uses(as(key, cmek.Enabling))
			w.happens(putRolePolicy(t, denyKMS))
			w.wantCut()
		}},
		{"two ENABLED specs", func(t *testing.T, w *world) {
			w.uses(as(key, cmek.Enabled), as(nextKey, cmek.Enabled))
			w.noted(string(key), goodKeyPolicy)
			w.happens(putKeyPolicy(t, key, adminOnly))
			w.wantCut()
		}},
		{"a past key that backups need", func(t *testing.T, w *world) {
			w.uses(as(key, cmek.Disabled), as(nextKey, cmek.Enabled))
			w.noted(string(key), goodKeyPolicy)
			w.happens(putKeyPolicy(t, key, adminOnly))
			w.wantCut()
		}},
		{"no cluster is known that uses the key", func(t *testing.T, w *world) {
			w.uses()
			w.happens(putKeyPolicy(t, key, goodKeyPolicy))
			for _, a := range w.told.Alerts() {
				if strings.Contains(a.Impact, allClear) && !strings.Contains(a.Impact, "unknown") {
					t.Errorf("an all-clear with nobody to judge: %s", a.Impact)
				}
			}
		}},
		{"the key policy cannot be read, the boundary allows nothing", func(t *testing.T, w *world) {
			w.Policies = unreadable{Policies: w.kms, keyPolicy: true}
			w.happens(call(t, "iam", "PutRolePermissionsBoundary", map[string]any{"roleName": "crdb-cmek", "permissionsBoundary": "arn:aws:iam::111122223333:policy/s3"}, ""))
			w.wantUnclear("the policy of key " + string(key))
		}},
		{"PutRolePolicy whose parameters CloudTrail left out", func(t *testing.T, w *world) {
			w.kms.rolePolicies = `{"inline":{"stop":` + denyKMS + `},"attached":{}}`
			w.happens(call(t, "iam", "PutRolePolicy", leftOut, ""))
			w.wantCut()
		}},
		{"UpdateAssumeRolePolicy whose parameters CloudTrail left out", func(t *testing.T, w *world) {
			w.kms.trust = brokenTrust
			w.happens(call(t, "iam", "UpdateAssumeRolePolicy", leftOut, ""))
			w.wantCut()
		}},
		{"a key policy padded with white space", func(t *testing.T, w *world) {
			w.noted(string(key), goodKeyPolicy)
			w.happens(putKeyPolicy(t, key, strings.Replace(adminOnly, "[", "["+strings.Repeat(" \n", 40_000), 1)))
			w.wantCut()
		}},
		{"AttachRolePolicy, IAM shows it a minute later", func(t *testing.T, w *world) {
			w.happens(call(t, "iam", "AttachRolePolicy", map[string]any{"roleName": "crdb-cmek", "policyArn": "arn:aws:iam::111122223333:policy/stop"}, ""))
			w.kms.rolePolicies = `{"inline":{},"attached":{"arn:aws:iam::111122223333:policy/stop":` + denyKMS + `}}`
			w.ticks(30 * time.Minute)
			w.wantCut()
		}},
		{"AttachRolePolicy of a policy that AWS defines", func(t *testing.T, w *world) {
			w.happens(call(t, "iam", "AttachRolePolicy", map[string]any{"roleName": "crdb-cmek", "policyArn": "arn:aws:iam::aws:policy/AWSDenyAll"}, ""))
			w.wantCut()
		}},
		{"CreatePolicyVersion of an attached policy, IAM shows it a minute later", func(t *testing.T, w *world) {
			w.kms.rolePolicies = `{"inline":{},"attached":{"arn:aws:iam::111122223333:policy/base":` + allowS3 + `}}`
			w.happens(call(t, "iam", "CreatePolicyVersion", map[string]any{"policyArn": "arn:aws:iam::111122223333:policy/base", "setAsDefault": true, "policyDocument": denyKMS}, ""))
			w.wantCut()
		}},
		{"a version of a policy that no cluster's role has", func(t *testing.T, w *world) {
			w.happens(call(t, "iam", "CreatePolicyVersion", map[string]any{"policyArn": "arn:aws:iam::111122223333:policy/base", "setAsDefault": true, "policyDocument": denyKMS}, ""))
			w.ticks(30 * time.Minute)
			w.wantAtMost(alert.Medium)
		}},
		{"DisableKey of a replica that nobody names", func(t *testing.T, w *world) {
			w.uses(as(mrkEast, cmek.Enabled))
			w.kms.set(mrkEast, cmek.KeyEnabled)
			w.kms.set(mrkWest, cmek.KeyDisabled)
			w.happens(call(t, "kms", "DisableKey", map[string]any{"keyId": string(mrkWest)}, mrkWest))
			w.wantAtMost(alert.Medium)
		}},
		{"DisableKey of the replica that a cluster names", func(t *testing.T, w *world) {
			w.uses(as(mrkWest, cmek.Enabled))
			w.kms.set(mrkWest, cmek.KeyDisabled)
			w.happens(call(t, "kms", "DisableKey", map[string]any{"keyId": string(mrkWest)}, mrkWest))
			w.wantCut()
		}},
		{"repair leaves a replica alone that nobody names", func(t *testing.T, w *world) {
			w.Repairer = w.repair
			w.uses(as(mrkEast, cmek.Enabled))
			w.kms.set(mrkEast, cmek.KeyEnabled)
			w.kms.set(mrkWest, cmek.KeyDeletionScheduled)
			w.happens(call(t, "kms", "ScheduleKeyDeletion", map[string]any{"keyId": string(mrkWest), "pendingWindowInDays": 7}, mrkWest))
			w.ticks(20 * time.Minute)
			if len(w.repair.calls) > 0 {
				t.Errorf("repaired: %v", w.repair.calls)
			}
		}},
		{"the same policy again, with a service in it", func(t *testing.T, w *world) {
			same := plus(`{"Sid":"Logs","Effect":"Allow","Principal":{"Service":"logs.us-east-1.amazonaws.com"},"Action":"kms:Encrypt","Resource":"*"}`)
			w.noted(string(key), same)
			w.happens(putKeyPolicy(t, key, same))
			w.wantAtMost(alert.Medium)
		}},
		{"a service more than before", func(t *testing.T, w *world) {
			w.noted(string(key), goodKeyPolicy)
			w.happens(putKeyPolicy(t, key, plus(`{"Sid":"Logs","Effect":"Allow","Principal":{"Service":"logs.us-east-1.amazonaws.com"},"Action":"kms:Encrypt","Resource":"*"}`)))
			if a := w.last(); a.Severity != alert.Critical {
				t.Errorf("a new grant outside of the account is %s", a.Headline())
			}
		}},
		{"everybody, limited by aws:PrincipalArn to roles of the own account", func(t *testing.T, w *world) {
			w.noted(string(key), goodKeyPolicy)
			w.happens(putKeyPolicy(t, key, plus(`{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"kms:*","Resource":"*","Condition":{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/*/AWSReservedSSO_Admin_*"}}}`)))
			w.wantAtMost(alert.Medium)
		}},
		{"everybody, limited by aws:PrincipalArn to roles of any account", func(t *testing.T, w *world) {
			w.noted(string(key), goodKeyPolicy)
			w.happens(putKeyPolicy(t, key, plus(`{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"kms:*","Resource":"*","Condition":{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/admin"}}}`)))
			if a := w.last(); a.Severity != alert.Critical {
				t.Errorf("a grant to a role of any account is %s", a.Headline())
			}
		}},
		{"the last administrator is removed", func(t *testing.T, w *world) {
			w.noted(string(key), goodKeyPolicy)
			clusters := goodKeyPolicy[strings.Index(goodKeyPolicy, `{"Sid":"CMEK"`):]
			w.happens(putKeyPolicy(t, key, `{"Version":"2012-10-17","Statement":[`+clusters))
			if a := w.last(); !a.Severity.AtLeast(alert.High) {
				t.Errorf("a key that nobody can manage is %s", a.Headline())
			}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				tc.test(t, w)
			})
		})
	}
}

// A trust policy that the cluster's account can meet with no external id at all cuts it off, also where the id is not configured.
func TestTrust_certainDenialNeedsNoExternalID(t *testing.T) {
	for name, trust := range map[string]string{
		"a service only":        `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`,
		"its own account only":  `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"sts:AssumeRole"}]}`,
		"another account":       strings.Replace(goodTrust, crlAccount, "777788889999", 1),
		"SAML, by the account":  strings.Replace(goodTrust, "sts:AssumeRole", "sts:AssumeRoleWithSAML", 1),
		"a Deny of the account": strings.Replace(goodTrust, `"Statement":[`, `"Statement":[{"Effect":"Deny","Principal":{"AWS":"arn:aws:iam::444455556666:root"},"Action":"sts:*"},`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.Settings.OrganizationID = ""
				w.kms.trust = trust
				w.happens(event("e1", cmek.ChangePrincipalTrust, ofRole(role), document(trust)))
				w.wantCut()
			})
		})
	}
}

// A version of a managed policy that is not the default one changes nothing.
func TestManaged_versionThatIsNotTheDefault(t *testing.T) {
	const arn = "arn:aws:iam::111122223333:policy/kms"
	for _, isDefault := range []bool{true, false} {
		inWorld(t, func(t *testing.T, w *world) {
			w.kms.rolePolicies = `{"inline":{},"attached":{"` + arn + `":` + allowS3 + `}}`
			w.happens(call(t, "iam", "CreatePolicyVersion", map[string]any{"policyArn": arn, "policyDocument": denyKMS, "setAsDefault": isDefault}, ""))
			if got := len(w.open()) > 0; got != isDefault {
				t.Errorf("a version that denies, default %t: an incident is open: %t; %s", isDefault, got, w.last().Headline())
			}
		})
	}
}
