package simulator_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/simulator"
)

const acmeAccountName = "projects/acme/serviceAccounts/" + acmeAccount

func TestAServiceAccountIsReadByEveryName(t *testing.T) {
	world := googleWorld(t)
	account := ask(t, world, "GET", "v1/"+acmeAccountName, "", 200, acmeAccount)
	id, _ := account["uniqueId"].(string)
	if len(id) != 21 || account["name"] != acmeAccountName || account["projectId"] != "acme" || account["disabled"] != nil {
		t.Errorf("the account is %v", account)
	}
	for _, name := range []string{"projects/-/serviceAccounts/" + acmeAccount, "projects/-/serviceAccounts/" + id, "projects/acme/serviceAccounts/" + id,
		"projects/" + acmeNumber + "/serviceAccounts/" + strings.ReplaceAll(acmeAccount, "@", "%40")} {
		ask(t, world, "GET", "v1/"+name, "", 200, id)
	}
	for _, name := range []string{"projects/-/serviceAccounts/none@acme.iam.gserviceaccount.com", "projects/acme/serviceAccounts/123"} {
		ask(t, world, "GET", "v1/"+name, "", 404, "NOT_FOUND")
	}
	ask(t, world, "GET", "v1/projects/other/serviceAccounts/"+acmeAccount, "", 403, "PERMISSION_DENIED")
	ask(t, world, "GET", "v1/projects/acme/serviceAccounts", "", 200, id)
	if err := world.DenyGoogle("projects/-/serviceAccounts/"+acmeAccount, true, "iam.serviceAccounts.get"); err != nil {
		t.Fatal(err)
	}
	ask(t, world, "GET", "v1/projects/-/serviceAccounts/"+id, "", 403, "iam.serviceAccounts.get")
	ask(t, world, "POST", "v1/"+acmeAccountName+":getIamPolicy", "", 200, tokenRole)
}

func TestAServiceAccountIsDisabledAndEnabled(t *testing.T) {
	world := googleWorld(t)
	ask(t, world, "POST", "v1/"+acmeAccountName+":disable", "{}", 200, "{}")
	if e := wantEvent(t, world, "disable", cmek.ChangePrincipalDisabled); e.Identity != acmeAccount || e.Account != "acme" {
		t.Errorf("the event is %+v", e)
	}
	ask(t, world, "GET", "v1/"+acmeAccountName, "", 200, `"disabled":true`)
	ask(t, world, "POST", "v1/"+acmeAccountName+":enable", "{}", 200, "{}")
	wantEvent(t, world, "enable", cmek.ChangePrincipalEnabled)
	ask(t, world, "POST", "v1/projects/acme/serviceAccounts/none@acme.iam.gserviceaccount.com:disable", "{}", 404, "NOT_FOUND")
	if e := wantEvent(t, world, "disable nothing", cmek.ChangePrincipalDisabled); e.Succeeded() {
		t.Errorf("the event is %+v", e)
	}
}

// A service account that is created again has the e-mail of the deleted one, and nothing else of it.
func TestAServiceAccountIsDeletedAndComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := googleWorld(t)
		old, _ := ask(t, world, "GET", "v1/"+acmeAccountName, "", 200, "")["uniqueId"].(string)
		undelete := "v1/projects/-/serviceAccounts/" + old + ":undelete"
		ask(t, world, "POST", undelete, "{}", 404, "NOT_FOUND")
		emitted(t, world)
		ask(t, world, "DELETE", "v1/"+acmeAccountName, "", 200, "{}")
		if e := wantEvent(t, world, "delete", cmek.ChangePrincipalDeleted); e.Identity != acmeAccount || e.Parameters["unique_id"] != old {
			t.Errorf("the event is %+v", e)
		}
		ask(t, world, "GET", "v1/"+acmeAccountName, "", 404, "NOT_FOUND")
		gone := "deleted:serviceAccount:" + acmeAccount + "?uid=" + old
		ask(t, world, "GET", "v1/"+acmeKey+":getIamPolicy", "", 200, gone)

		ask(t, world, "POST", "v1/projects/acme/serviceAccounts", `{"accountId":"cmek-pay"}`, 200, acmeAccount)
		created := wantEvent(t, world, "create", cmek.ChangePrincipalCreated)
		if created.Identity != acmeAccount || created.Parameters["unique_id"] == old || len(created.Parameters["unique_id"]) != 21 {
			t.Errorf("the event is %+v; want another id than %s", created, old)
		}
		ask(t, world, "GET", "v1/"+acmeKey+":getIamPolicy", "", 200, gone)
		ask(t, world, "POST", "v1/"+acmeAccountName+":getIamPolicy", "", 200, "{")
		ask(t, world, "POST", "v1/projects/acme/serviceAccounts", `{"accountId":"cmek-pay"}`, 409, "ALREADY_EXISTS")
		ask(t, world, "POST", undelete, "{}", 400, "FAILED_PRECONDITION")
		emitted(t, world)

		ask(t, world, "DELETE", "v1/"+acmeAccountName, "", 200, "{}")
		emitted(t, world)
		ask(t, world, "POST", undelete, "{}", 200, old)
		if e := wantEvent(t, world, "undelete", cmek.ChangePrincipalUndeleted); e.Identity != acmeAccount {
			t.Errorf("the event is %+v", e)
		}
		ask(t, world, "GET", "v1/"+acmeKey+":getIamPolicy", "", 200, `"serviceAccount:`+acmeAccount+`"`)
		ask(t, world, "DELETE", "v1/"+acmeAccountName, "", 200, "{}")
		time.Sleep(30*24*time.Hour + time.Second)
		ask(t, world, "POST", undelete, "{}", 404, "NOT_FOUND")
	})
}

func TestThePolicyOfAServiceAccount(t *testing.T) {
	world := googleWorld(t)
	before := ask(t, world, "POST", "v1/"+acmeAccountName+":getIamPolicy?options.requestedPolicyVersion=3", "", 200, crlMember)
	ask(t, world, "POST", "v1/"+acmeAccountName+":setIamPolicy", `{"policy":{"bindings":[],"etag":"`+before["etag"].(string)+`"}}`, 200, "etag")
	e := wantEvent(t, world, "set policy", cmek.ChangePrincipalTrust)
	var delta struct {
		Bindings []map[string]string `json:"bindingDeltas"`
	}
	if err := json.Unmarshal([]byte(e.Delta), &delta); err != nil || len(delta.Bindings) != 1 || delta.Bindings[0]["action"] != "REMOVE" ||
		delta.Bindings[0]["role"] != tokenRole || delta.Bindings[0]["member"] != crlMember || e.Identity != acmeAccount || len(e.Parameters["unique_id"]) != 21 {
		t.Errorf("the event is %+v; want Token Creator removed", e)
	}
	ask(t, world, "POST", "v1/"+acmeAccountName+":setIamPolicy", `{"policy":{"bindings":[],"etag":"`+before["etag"].(string)+`"}}`, 409, "ABORTED")
}

func TestRolesOnGoogle(t *testing.T) {
	world := googleWorld(t)
	const custom = "v1/projects/acme/roles/keyUser"
	role := ask(t, world, "GET", "v1/"+useRole, "", 200, "cloudkms.cryptoKeyVersions.useToDecrypt")
	if role["name"] != useRole {
		t.Errorf("the role is %v", role)
	}
	ask(t, world, "GET", "v1/roles/cloudkms.none", "", 404, "NOT_FOUND")
	ask(t, world, "GET", custom, "", 200, "useToEncrypt")
	ask(t, world, "GET", custom+"s", "", 404, "NOT_FOUND")
	ask(t, world, "PATCH", custom+"?updateMask=title", `{"title":"x"}`, 200, "useToEncrypt")
	wantEvent(t, world, "patch", cmek.ChangeManagedPolicy)
	if role := ask(t, world, "PATCH", custom+"?updateMask=includedPermissions", `{}`, 200, ""); role["includedPermissions"] != nil {
		t.Errorf("the role is %v", role)
	}
	if e := wantEvent(t, world, "patch", cmek.ChangeManagedPolicy); e.Parameters["role"] != "projects/acme/roles/keyUser" {
		t.Errorf("the event is %+v", e)
	}
	ask(t, world, "DELETE", custom, "", 200, `"deleted":true`)
	wantEvent(t, world, "delete", cmek.ChangeManagedPolicy)
	ask(t, world, "POST", custom+":undelete", "{}", 200, "keyUser")
	wantEvent(t, world, "undelete", cmek.ChangeManagedPolicy)
	ask(t, world, "POST", "v1/organizations/9/roles", `{"roleId":"orgRole","role":{"includedPermissions":["cloudkms.cryptoKeys.get"]}}`, 200, "organizations/9/roles/orgRole")
	ask(t, world, "GET", "v1/organizations/9/roles/orgRole", "", 200, "cloudkms.cryptoKeys.get")
}

func TestDenyPoliciesOnGoogle(t *testing.T) {
	world := googleWorld(t)
	const rules = `{"rules":[{"denyRule":{"deniedPrincipals":["principalSet://goog/public:all"],"deniedPermissions":["cloudkms.googleapis.com/cryptoKeyVersions.useToDecrypt"]}}]}`
	point := "v2/policies/cloudresourcemanager.googleapis.com%2Fprojects%2F"
	ask(t, world, "GET", point+"acme/denypolicies", "", 200, "{}")
	ask(t, world, "POST", point+"acme/denypolicies?policyId=stop-kms", rules, 200, `"done":true`)
	if e := wantEvent(t, world, "create", cmek.ChangeDenyPolicy); e.Account != "acme" || e.Parameters["policy_name"] != "stop-kms" || !strings.Contains(e.Policy, "useToDecrypt") {
		t.Errorf("the event is %+v", e)
	}
	// Lists have no rules, and names the project's number; clients escape the slash once or twice.
	for _, p := range []string{point + acmeNumber, strings.ReplaceAll(point+"acme", "%2F", "%252F")} {
		list := ask(t, world, "GET", p+"/denypolicies", "", 200, "projects%2F"+acmeNumber+"/denypolicies/stop-kms")
		if policies, _ := list["policies"].([]any); len(policies) != 1 || policies[0].(map[string]any)["rules"] != nil {
			t.Errorf("the list is %v; want one policy without rules", list)
		}
		ask(t, world, "GET", p+"/denypolicies/stop-kms", "", 200, "useToDecrypt")
	}
	ask(t, world, "GET", point+"acme/denypolicies/other", "", 404, "NOT_FOUND")
	ask(t, world, "GET", point+"other/denypolicies", "", 403, "PERMISSION_DENIED")
	ask(t, world, "GET", "v2/policies/cloudresourcemanager.googleapis.com%2Ffolders%2F77/denypolicies", "", 200, "{}")
	ask(t, world, "POST", point+"acme/denypolicies?policyId=empty", "{}", 400, "INVALID_ARGUMENT")
	emitted(t, world)
	ask(t, world, "PUT", point+"acme/denypolicies/stop-kms", strings.ReplaceAll(rules, "useToDecrypt", "useToEncrypt"), 200, "useToEncrypt")
	wantEvent(t, world, "update", cmek.ChangeDenyPolicy)
	if err := world.DenyGoogle("projects/acme", true, "iam.denypolicies.get"); err != nil {
		t.Fatal(err)
	}
	ask(t, world, "GET", point+"acme/denypolicies/stop-kms", "", 403, "iam.denypolicies.get")
	ask(t, world, "DELETE", point+"acme/denypolicies/stop-kms", "", 200, "")
	wantEvent(t, world, "delete", cmek.ChangeDenyPolicy)
	ask(t, world, "GET", point+"acme/denypolicies", "", 200, "{}")
}

func TestAProjectIsReadByIdAndNumber(t *testing.T) {
	world := googleWorld(t)
	for _, name := range []string{"acme", acmeNumber} {
		p := ask(t, world, "GET", "v3/projects/"+name, "", 200, "")
		if p["name"] != "projects/"+acmeNumber || p["projectId"] != "acme" || p["parent"] != "folders/77" || p["state"] != "ACTIVE" {
			t.Errorf("projects/%s is %v", name, p)
		}
		p = ask(t, world, "GET", "v1/projects/"+name, "", 200, "")
		if p["projectNumber"] != acmeNumber || p["projectId"] != "acme" || p["lifecycleState"] != "ACTIVE" {
			t.Errorf("projects/%s of version 1 is %v", name, p)
		}
	}
	ask(t, world, "GET", "v3/projects/other", "", 403, "PERMISSION_DENIED")
	ask(t, world, "POST", "v1/projects/acme:getAncestry", "", 200,
		`{"ancestor":[{"resourceId":{"id":"acme","type":"project"}},{"resourceId":{"id":"77","type":"folder"}},{"resourceId":{"id":"9","type":"organization"}}]}`)
	ask(t, world, "GET", "v3/folders/77", "", 200, "organizations/9")
	ask(t, world, "GET", "v3/folders/78", "", 403, "PERMISSION_DENIED")
}

func TestPoliciesAboveAProject(t *testing.T) {
	world := googleWorld(t)
	for _, c := range []struct {
		path, account, resource string
		changes                 []cmek.Change
	}{
		{"v1/projects/acme", "acme", "projects/acme", []cmek.Change{cmek.ChangeInheritedPolicy}},
		{"v3/projects/" + acmeNumber, "acme", "projects/acme", []cmek.Change{cmek.ChangeInheritedPolicy}},
		{"v3/folders/77", "", "folders/77", []cmek.Change{cmek.ChangeInheritedPolicy}},
		{"v3/organizations/9", "", "organizations/9", []cmek.Change{cmek.ChangeInheritedPolicy}},
	} {
		ask(t, world, "POST", c.path+":getIamPolicy", `{"options":{"requestedPolicyVersion":3}}`, 200, "etag")
		ask(t, world, "POST", c.path+":setIamPolicy", `{"policy":{"bindings":[{"role":"`+useRole+`","members":["group:a`+c.path[len(c.path)-2:]+`@b.example"]}]}}`, 200, useRole)
		e := wantEvent(t, world, c.path, c.changes[0])
		if e.Account != c.account || e.Parameters["resource"] != c.resource || !strings.Contains(e.Delta, `"ADD"`) {
			t.Errorf("%s: the event is %+v", c.path, e)
		}
	}
	// Audit logs are a part of the policy that a call must name.
	const audit = `"auditConfigs":[{"service":"cloudkms.googleapis.com","auditLogConfigs":[{"logType":"DATA_READ"}]}]`
	ask(t, world, "POST", "v1/projects/acme:setIamPolicy", `{"policy":{`+audit+`},"updateMask":"bindings,etag,auditConfigs"}`, 200, "DATA_READ")
	ask(t, world, "POST", "v1/projects/acme:setIamPolicy", `{"policy":{}}`, 200, "DATA_READ")
	emitted(t, world)
	ask(t, world, "POST", "v1/projects/acme:setIamPolicy", `{"policy":{},"updateMask":"bindings,etag,auditConfigs"}`, 200, "etag")
	if all := emitted(t, world); !slices.ContainsFunc(all, func(e cmek.Event) bool { return e.Change == cmek.ChangeAuditLogs }) {
		t.Errorf("the events are %+v; want that Data Access logs are off", all)
	}
}

func TestWhatIsSwitchedOffForAProject(t *testing.T) {
	for _, c := range []struct {
		method, off, offBody, on, onBody, refusal string
		was, is                                   cmek.Change
	}{
		{"POST", "v1/projects/acme/services/cloudkms.googleapis.com:disable", "{}", "v1/projects/acme/services/cloudkms.googleapis.com:enable", "{}", "SERVICE_DISABLED", cmek.ChangeAPIDisabled, cmek.ChangeAPIEnabled},
		{"PUT", "v1/projects/acme/billingInfo", "{}", "v1/projects/acme/billingInfo", `{"billingAccountName":"billingAccounts/0"}`, "BILLING_DISABLED", cmek.ChangeBillingDisabled, cmek.ChangeBillingAssigned},
		{"DELETE", "v3/projects/acme", "", "v3/projects/acme:undelete", "{}", "has been deleted", cmek.ChangeProjectShutDown, cmek.ChangeProjectRestored},
		{"DELETE", "v1/projects/acme", "", "v1/projects/acme:undelete", "{}", "has been deleted", cmek.ChangeProjectShutDown, cmek.ChangeProjectRestored},
	} {
		world := googleWorld(t)
		ask(t, world, c.method, c.off, c.offBody, 200, "")
		if e := wantEvent(t, world, c.off, c.was); e.Account != "acme" {
			t.Errorf("%s: the event is %+v", c.off, e)
		}
		ask(t, world, "GET", "v1/"+acmeKey, "", 403, c.refusal)
		ask(t, world, "GET", "v3/projects/acme", "", 200, acmeNumber)
		method := c.method
		if method == "DELETE" {
			method = "POST"
		}
		ask(t, world, method, c.on, c.onBody, 200, "")
		if e := wantEvent(t, world, c.on, c.is); e.Account != "acme" {
			t.Errorf("%s: the event is %+v", c.on, e)
		}
		ask(t, world, "GET", "v1/"+acmeKey, "", 200, "primary")
	}
}

// Everything that a cluster on Google Cloud needs is needed, and enough; what is none of its business is not.
func TestWhatAClusterOnGoogleNeeds(t *testing.T) {
	const refused = "Insufficient permissions to access the KMS key"
	account, key := "v1/"+acmeAccountName, "v1/"+acmeKey
	policy := func(role, member string) string {
		return `{"policy":{"version":3,"bindings":[{"role":"` + role + `","members":["` + member + `"]}]}}`
	}
	const noBindings = `{"policy":{}}`
	member := "serviceAccount:" + acmeAccount
	deny := `{"rules":[{"denyRule":{"deniedPrincipals":["principalSet://goog/public:all"],"deniedPermissions":["cloudkms.googleapis.com/cryptoKeyVersions.useToEncrypt"]}}]}`
	type step struct{ method, path, body string }
	for name, c := range map[string]struct {
		steps []step
		works bool
	}{
		"nothing changed":           {nil, true},
		"the binding of the key":    {[]step{{"POST", key + ":setIamPolicy", noBindings}}, false},
		"one of another account":    {[]step{{"POST", key + ":setIamPolicy", policy(useRole, "serviceAccount:x@other.iam.gserviceaccount.com")}}, false},
		"half of the role":          {[]step{{"POST", key + ":setIamPolicy", policy("roles/cloudkms.cryptoKeyEncrypter", member)}}, false},
		"a group":                   {[]step{{"POST", key + ":setIamPolicy", policy(useRole, "group:all@acme.example")}}, false},
		"that of the ring instead":  {[]step{{"POST", key + ":setIamPolicy", noBindings}, {"POST", "v1/" + acmeRing + ":setIamPolicy", policy(useRole, member)}}, true},
		"that of the project":       {[]step{{"POST", key + ":setIamPolicy", noBindings}, {"POST", "v3/projects/acme:setIamPolicy", policy(useRole, member)}}, true},
		"that of the folder":        {[]step{{"POST", key + ":setIamPolicy", noBindings}, {"POST", "v3/folders/77:setIamPolicy", policy(useRole, member)}}, true},
		"a custom role":             {[]step{{"POST", key + ":setIamPolicy", policy("projects/acme/roles/keyUser", member)}}, true},
		"a custom role, deleted":    {[]step{{"POST", key + ":setIamPolicy", policy("projects/acme/roles/keyUser", member)}, {"DELETE", "v1/projects/acme/roles/keyUser", ""}}, false},
		"a deny policy":             {[]step{{"POST", "v2/policies/cloudresourcemanager.googleapis.com%2Forganizations%2F9/denypolicies?policyId=d", deny}}, false},
		"Token Creator":             {[]step{{"POST", account + ":setIamPolicy", noBindings}}, false},
		"Token Creator for another": {[]step{{"POST", account + ":setIamPolicy", policy(tokenRole, "serviceAccount:crl-kms-user-0000000000a2@crl-prod-abc.iam.gserviceaccount.com")}}, false},
		"Token Creator above":       {[]step{{"POST", account + ":setIamPolicy", noBindings}, {"POST", "v3/projects/acme:setIamPolicy", policy(tokenRole, crlMember)}}, true},
		"the account, disabled":     {[]step{{"POST", account + ":disable", "{}"}}, false},
		"the account, enabled":      {[]step{{"POST", account + ":disable", "{}"}, {"POST", account + ":enable", "{}"}}, true},
		"the account, deleted":      {[]step{{"DELETE", account, ""}}, false},
		"the account, made again":   {[]step{{"DELETE", account, ""}, {"POST", "v1/projects/acme/serviceAccounts", `{"accountId":"cmek-pay"}`}}, false},
		"its primary, disabled":     {[]step{{"PATCH", "v1/" + version("2") + "?updateMask=state", `{"state":"DISABLED"}`}}, false},
		"an old version, disabled":  {[]step{{"PATCH", "v1/" + version("1") + "?updateMask=state", `{"state":"DISABLED"}`}}, true},
		"its primary, scheduled":    {[]step{{"POST", "v1/" + version("2") + ":destroy", "{}"}}, false},
		"a justifications policy":   {[]step{{"PATCH", key + "?updateMask=keyAccessJustificationsPolicy", `{"keyAccessJustificationsPolicy":{}}`}}, false},
		"one for somebody else":     {[]step{{"PATCH", key + "?updateMask=keyAccessJustificationsPolicy", `{"keyAccessJustificationsPolicy":{"allowedAccessReasons":["GOOGLE_INITIATED_REVIEW"]}}`}}, false},
		"one that allows it":        {[]step{{"PATCH", key + "?updateMask=keyAccessJustificationsPolicy", `{"keyAccessJustificationsPolicy":{"allowedAccessReasons":[5]}}`}}, true},
		"one that was removed": {[]step{{"PATCH", key + "?updateMask=keyAccessJustificationsPolicy", `{"keyAccessJustificationsPolicy":{}}`},
			{"PATCH", key + "?updateMask=keyAccessJustificationsPolicy", `{}`}}, true},
		"the API":                   {[]step{{"POST", "v1/projects/acme/services/cloudkms.googleapis.com:disable", "{}"}}, false},
		"the API of tokens":         {[]step{{"POST", "v1/projects/acme/services/iamcredentials.googleapis.com:disable", "{}"}}, false},
		"the API of something else": {[]step{{"POST", "v1/projects/acme/services/compute.googleapis.com:disable", "{}"}}, true},
		"billing":                   {[]step{{"PUT", "v1/projects/acme/billingInfo", "{}"}}, false},
		"the project":               {[]step{{"DELETE", "v3/projects/acme", ""}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			world := googleWorld(t, simulator.GooglePropagation, "0s", simulator.RotationDuration, "0s")
			for _, s := range c.steps {
				ask(t, world, s.method, s.path, s.body, 200, "")
			}
			status, text := 400, refused
			if c.works {
				status, text = 200, ""
			}
			call(t, world, "PUT", "/clusters/"+acmeCluster+"/cmek", specBody(acmeSpec)).want(t, status, text)
		})
	}
}

var acmeSpec = cmek.RegionSpec{Region: "us-east1", KeySpec: cmek.KeySpec{Type: cmek.GCPCloudKMS, URI: acmeKey, AuthPrincipal: acmeAccount}}

// A rotation leaves the cluster behind until it is followed, as soon as Encrypt uses the new version.
func TestAClusterOnGoogleFollowsARotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := googleWorld(t)
		wantKey := func(material string, behind bool) {
			t.Helper()
			if keys := world.StoreKeys(); keys[0].Material != material || keys[0].Behind != behind {
				t.Errorf("the store key is %+v; want version %s, behind: %t", keys[0], material, behind)
			}
		}
		wantKey("2", false)
		if err := world.Rotate(acmeKey); err != nil {
			t.Fatal(err)
		}
		wantEvent(t, world, "rotation", cmek.ChangeRotated)
		put := func() {
			t.Helper()
			call(t, world, "PUT", "/clusters/"+acmeCluster+"/cmek", specBody(acmeSpec)).want(t, 200, "")
			time.Sleep(10 * time.Second)
		}
		put() // too early: Encrypt uses the former version
		wantKey("2", false)
		time.Sleep(time.Minute)
		wantKey("2", true)
		put()
		wantKey("3", false)
	})
}

// The first signs that a cluster is cut off are in the Data Access logs, if these are on.
func TestWhatAClusterIsRefusedIsInTheLog(t *testing.T) {
	world := googleWorld(t, simulator.GooglePropagation, "0s", simulator.RotationDuration, "0s")
	put := func(status int) []cmek.Event {
		t.Helper()
		call(t, world, "PUT", "/clusters/"+acmeCluster+"/cmek", specBody(acmeSpec)).want(t, status, "")
		return emitted(t, world)
	}
	if all := put(200); len(all) != 0 {
		t.Errorf("the logs are off, but show %+v", all)
	}
	set(t, world, simulator.GoogleDataAccess, "on")
	const crl = cmek.Principal("crl-kms-user-0000000000a1@crl-prod-abc.iam.gserviceaccount.com")
	all := put(200)
	if len(all) != 2 || all[0].Change != cmek.ChangePrincipalAssumed || cmek.Principal(all[0].Principal) != crl || all[0].Identity != acmeAccount ||
		all[1].Change != cmek.ChangeUse || all[1].Principal != acmeAccount || all[1].Key != acmeKey {
		t.Errorf("the events are %+v", all)
	}
	ask(t, world, "PATCH", "v1/"+version("2")+"?updateMask=state", `{"state":"DISABLED"}`, 200, "")
	emitted(t, world)
	if all = put(400); len(all) != 2 || all[1].Change != cmek.ChangeUseRefused || all[1].Failure != cmek.FailureUnfit {
		t.Errorf("with a disabled version the events are %+v", all)
	}
	ask(t, world, "POST", "v1/"+acmeAccountName+":setIamPolicy", `{"policy":{}}`, 200, "")
	emitted(t, world)
	if all = put(400); len(all) != 1 || all[0].Change != cmek.ChangeUseRefused || all[0].Failure != cmek.FailureDenied || all[0].Identity != acmeAccount {
		t.Errorf("without Token Creator the events are %+v", all)
	}
	ask(t, world, "DELETE", "v1/"+acmeAccountName, "", 200, "")
	emitted(t, world)
	if all = put(400); len(all) != 0 {
		t.Errorf("without the account the events are %+v", all)
	}
}

// A cluster may name its key by the project's number, and may have missed rotations.
func TestAClusterOnGoogleIsSeededBehind(t *testing.T) {
	byNumber := strings.Replace(acmeKey, "acme", acmeNumber, 1)
	text := strings.Replace(googleSeed, "key: "+acmeKey, "behind: 1, key: "+byNumber, 1)
	text = strings.Replace(text, "uri: "+acmeKey, "uri: "+byNumber, 1)
	seed, err := simulator.LoadSeed([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	world, err := simulator.New(seed)
	if err != nil {
		t.Fatal(err)
	}
	if keys := world.StoreKeys(); keys[0].Material != "1" || !keys[0].Behind || string(keys[0].URI) != byNumber {
		t.Errorf("the store key is %+v; want it behind, under version 1", keys[0])
	}
	ask(t, world, "GET", "v1/"+acmeKey, "", 200, `"name":"`+acmeKey+`"`)
}

func TestSeedsOfGoogleAreChecked(t *testing.T) {
	for change, want := range map[string]string{
		acmeKey + "\n    age_days: 300=>" + acmeKey + "/cryptoKeyVersions/1\n    age_days: 300": "without a version",
		`number: "` + acmeNumber + `"=>number: "12a456"`:                                        "google.projects[0].number",
		"folders/77=>teams/77": "google.projects[0].ancestors",
		"name: projects/acme/roles/keyUser=>name: roles/keyUser":    "google.roles[0].name",
		"rotations: [{age_days: 30}]=>rotations: [{age_days: 301}]": "keys[0].rotations[0].age_days",
		"tags: {team: pay}=>policy: '['":                            "keys[0].policy",
	} {
		from, to, _ := strings.Cut(change, "=>")
		if !strings.Contains(googleSeed, from) {
			t.Fatalf("the seed lacks %q", from)
		}
		if _, err := simulator.LoadSeed([]byte(strings.Replace(googleSeed, from, to, 1))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", to, err, want)
		}
	}
}
