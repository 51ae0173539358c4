package simulator_test

import (
	"testing"

	"github.com/keyturn/keyturn/internal/cmek"
)

func TestPrincipalAccessBoundariesOnGoogle(t *testing.T) {
	world := googleWorld(t)
	const (
		policies = "v3/organizations/9/locations/global/principalAccessBoundaryPolicies"
		bindings = "v3/projects/acme/locations/global/policyBindings"
		search   = bindings + ":searchTargetPolicyBindings?target=%2F%2Fcloudresourcemanager.googleapis.com%2Fprojects%2Facme"
		set      = `"target":{"principalSet":"//cloudresourcemanager.googleapis.com/projects/acme"}`
	)
	ask(t, world, "GET", search, "", 200, "{}")
	ask(t, world, "POST", policies+"?principalAccessBoundaryPolicyId=others", `{"details":{"rules":[{"resources":["//cloudresourcemanager.googleapis.com/projects/web"],"effect":"ALLOW"}]}}`, 200, `"done":true`)
	if e := wantEvent(t, world, "create policy", cmek.ChangeAccessBoundary); e.Parameters["resource"] != "organizations/9" || e.Parameters["policy_name"] != "others" {
		t.Errorf("the event is %+v", e)
	}
	ask(t, world, "GET", policies+"/others", "", 200, `"enforcementVersion":"4"`)
	ask(t, world, "GET", policies+"/none", "", 404, "NOT_FOUND")
	ask(t, world, "POST", bindings+"?policyBindingId=bound", `{`+set+`,"policy":"organizations/9/locations/global/principalAccessBoundaryPolicies/none"}`, 404, "NOT_FOUND")
	emitted(t, world)
	ask(t, world, "POST", bindings+"?policyBindingId=bound", `{`+set+`,"policy":"organizations/9/locations/global/principalAccessBoundaryPolicies/others"}`, 200, `"done":true`)
	if e := wantEvent(t, world, "bind", cmek.ChangeAccessBoundary); e.Account != "acme" || e.Parameters["binding"] != "bound" {
		t.Errorf("the event is %+v", e)
	}
	ask(t, world, "GET", search, "", 200, "PRINCIPAL_ACCESS_BOUNDARY")
	ask(t, world, "GET", bindings+":searchTargetPolicyBindings?target=x", "", 400, "INVALID_ARGUMENT")
	if err := world.DenyGoogle("projects/acme", true, "resourcemanager.projects.searchPolicyBindings"); err != nil {
		t.Fatal(err)
	}
	ask(t, world, "GET", search, "", 403, "resourcemanager.projects.searchPolicyBindings")
	ask(t, world, "DELETE", bindings+"/bound", "", 200, `"done":true`)
	wantEvent(t, world, "unbind", cmek.ChangeAccessBoundary)
	ask(t, world, "DELETE", bindings+"/bound", "", 404, "NOT_FOUND")
}
