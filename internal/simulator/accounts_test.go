package simulator_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/cockroach-cloud-sdk-go/v5/pkg/client"

	"github.com/keyturn/keyturn/internal/simulator"
)

func bearer(secret string) []string { return []string{"Authorization", "Bearer " + secret} }

func asAdmin(t *testing.T, world *simulator.World, method, path, body string) reply {
	t.Helper()
	return call(t, world, method, path, body, bearer(adminAPIKey)...)
}

func TestTheOfficialSDKManagesServiceAccountsAndAPIKeys(t *testing.T) {
	world, ctx := newWorld(t, simulator.AuditPayload, "object", simulator.RateLimit, "100"), context.Background()
	admin := officialSDK(world, adminAPIKey)
	list := must[*client.ListServiceAccountsResponse](t, "list service accounts")(admin.ListServiceAccounts(ctx, &client.ListServiceAccountsOptions{}))
	if len(list.ServiceAccounts) != 3 || list.ServiceAccounts[0].Name != "developer" || list.ServiceAccounts[2].Name != "org-admin" {
		t.Errorf("service accounts are %+v; want the seed's by name", list.ServiceAccounts)
	}
	id := payments
	made := must[*client.ServiceAccount](t, "create service account")(admin.CreateServiceAccount(ctx, &client.CreateServiceAccountRequest{
		Name: "auto", Description: "follows keys", Roles: []client.BuiltInRole{{Name: "CLUSTER_OPERATOR_WRITER", Resource: client.Resource{Type: "CLUSTER", Id: &id}}},
	}))
	if made.CreatorName != "org-admin" || len(made.Roles) != 2 || made.Roles[0].Name != "ORG_MEMBER" || made.GroupRoles == nil {
		t.Errorf("made %+v", made)
	}
	key := must[*client.CreateApiKeyResponse](t, "create API key")(admin.CreateApiKey(ctx, &client.CreateApiKeyRequest{Name: "auto key", ServiceAccountId: made.Id}))
	if len(key.Secret) != 6+22+1+40 || !strings.HasPrefix(key.Secret, key.ApiKey.Id+"_") || key.ApiKey.ServiceAccountId != made.Id {
		t.Errorf("the API key is %+v", key)
	}

	// What the account was given is what it may do.
	auto := officialSDK(world, key.Secret)
	clusters := must[*client.ListClustersResponse](t, "list clusters")(auto.ListClusters(ctx, &client.ListClustersOptions{}))
	if len(clusters.Clusters) != 1 || clusters.Clusters[0].Id != payments {
		t.Errorf("the account of one cluster sees %d", len(clusters.Clusters))
	}
	must[*client.CMEKClusterInfo](t, "get CMEK")(auto.GetCMEKClusterInfo(ctx, payments))
	if _, response, err := auto.GetCMEKClusterInfo(ctx, orders); err == nil || response.StatusCode != http.StatusNotFound {
		t.Errorf("the account reads another cluster: %v", err)
	}
	if _, response, err := auto.ListServiceAccounts(ctx, &client.ListServiceAccountsOptions{}); err == nil || response.StatusCode != http.StatusForbidden {
		t.Errorf("the account lists accounts: %v", err)
	}
	if _, response, err := auto.DeleteCluster(ctx, payments); err == nil || response.StatusCode != http.StatusForbidden {
		t.Errorf("the account deletes its cluster: %v", err)
	}

	of := made.Id
	keys := must[*client.ListApiKeysResponse](t, "list API keys")(admin.ListApiKeys(ctx, &client.ListApiKeysOptions{ServiceAccountId: &of}))
	if len(keys.ApiKeys) != 1 || keys.ApiKeys[0].Id != key.ApiKey.Id {
		t.Errorf("API keys of the account are %+v", keys.ApiKeys)
	}
	name := "renamed"
	must[*client.ApiKey](t, "rename API key")(admin.UpdateApiKey(ctx, key.ApiKey.Id, &client.UpdateApiKeySpecification{Name: &name}))
	if got := must[*client.ApiKey](t, "get API key")(admin.GetApiKey(ctx, key.ApiKey.Id)); got.Name != name {
		t.Errorf("the API key is %+v", got)
	}
	must[*client.ServiceAccount](t, "rename account")(admin.UpdateServiceAccount(ctx, made.Id, &client.UpdateServiceAccountSpecification{Name: &name}))
	if got := must[*client.ServiceAccount](t, "get account")(admin.GetServiceAccount(ctx, made.Id)); got.Name != name || got.Description != "follows keys" {
		t.Errorf("the account is %+v", got)
	}

	must[*client.ApiKey](t, "delete API key")(admin.DeleteApiKey(ctx, key.ApiKey.Id))
	if _, response, err := auto.GetOrganizationInfo(ctx); err == nil || response.StatusCode != http.StatusUnauthorized {
		t.Errorf("a deleted API key is accepted: %v", err)
	}
	again := must[*client.CreateApiKeyResponse](t, "create API key")(admin.CreateApiKey(ctx, &client.CreateApiKeyRequest{Name: "again", ServiceAccountId: made.Id}))
	must[*client.ServiceAccount](t, "delete account")(admin.DeleteServiceAccount(ctx, made.Id))
	if _, response, err := officialSDK(world, again.Secret).GetOrganizationInfo(ctx); err == nil || response.StatusCode != http.StatusUnauthorized {
		t.Errorf("an API key of a deleted account is accepted: %v", err)
	}
	if _, response, err := admin.GetServiceAccount(ctx, made.Id); err == nil || response.StatusCode != http.StatusNotFound {
		t.Errorf("a deleted account is there: %v", err)
	}
	var actions []string
	for _, e := range *must[*client.ListAuditLogsResponse](t, "list audit logs")(admin.ListAuditLogs(ctx, &client.ListAuditLogsOptions{})).Entries {
		actions = append(actions, strings.TrimPrefix(string(*e.Action), "AUDIT_LOG_ACTION_"))
	}
	want := []string{"CREATE_SERVICE_ACCOUNT", "CREATE_API_KEY", "UPDATE_API_KEY", "UPDATE_SERVICE_ACCOUNT", "DELETE_API_KEY", "CREATE_API_KEY", "DELETE_SERVICE_ACCOUNT"}
	if !slices.Equal(actions, want) {
		t.Errorf("the audit log has %v, want %v", actions, want)
	}
}

func TestARoleOnAFolderIsForItsClusters(t *testing.T) {
	seed := simulator.DefaultSeed()
	seed.Clusters[0].ParentID = "folder-1"
	world, err := simulator.New(seed)
	if err != nil {
		t.Fatal(err)
	}
	made := decode[accountReply](t, asAdmin(t, world, "POST", "/service-accounts", `{"name":"a","description":"","roles":[{"name":"CLUSTER_ADMIN","resource":{"type":"FOLDER","id":"folder-1"}}]}`).want(t, 200, "").body)
	secret := decode[accountReply](t, asAdmin(t, world, "POST", "/api-keys", `{"name":"k","service_account_id":"`+made.ID+`"}`).want(t, 200, "").body).Secret
	call(t, world, "GET", "/clusters/"+payments+"/cmek", "", bearer(secret)...).want(t, 200, "")
	call(t, world, "GET", "/clusters/"+orders+"/cmek", "", bearer(secret)...).want(t, 404, `"code":5`)
	call(t, world, "GET", "/service-accounts", "", bearer(secret)...).want(t, 403, "")
	create := `{"name":"new","provider":"AWS","spec":{"parent_id":"PARENT","dedicated":{"region_nodes":{"us-east-1":3},"hardware":{"storage_gib":15,"machine_spec":{}}}}}`
	call(t, world, "POST", "/clusters", strings.Replace(create, "PARENT", "root", 1), bearer(secret)...).want(t, 403, `"code":7`)
	call(t, world, "POST", "/clusters", strings.Replace(create, "PARENT", "folder-1", 1), bearer(secret)...).want(t, 200, "CREATING")
}

type accountReply struct {
	ID     string
	Secret string
}

func TestAccountsKeysAndIssuersAreRefusedWithTheirReason(t *testing.T) {
	tests := []struct {
		name, method, path, body string
		status                   int
		inBody                   string
	}{
		{"an account without a name", "POST", "/service-accounts", `{"description":"","roles":[]}`, 400, "name is required"},
		{"an account without a description", "POST", "/service-accounts", `{"name":"a","roles":[]}`, 400, "description is required"},
		{"an account without roles", "POST", "/service-accounts", `{"name":"a","description":""}`, 400, "roles is required"},
		{"a role that is none", "POST", "/service-accounts", `{"name":"a","description":"","roles":[{"name":"KING","resource":{"type":"ORGANIZATION"}}]}`, 400, "KING"},
		{"a role on nothing", "POST", "/service-accounts", `{"name":"a","description":"","roles":[{"name":"ORG_ADMIN","resource":{"type":"PLANET"}}]}`, 400, "PLANET"},
		{"a role on some cluster", "POST", "/service-accounts", `{"name":"a","description":"","roles":[{"name":"CLUSTER_ADMIN","resource":{"type":"CLUSTER"}}]}`, 400, "needs an id"},
		{"an account that is none", "GET", "/service-accounts/x", "", 404, `"code":5`},
		{"an empty name", "PATCH", "/service-accounts/ACCOUNT", `{"name":""}`, 400, "must not be empty"},
		{"an empty name of a key", "PATCH", "/api-keys/" + adminAPIKey[:28], `{"name":""}`, 400, "must not be empty"},
		{"a key without a name", "POST", "/api-keys", `{"service_account_id":"x"}`, 400, "name is required"},
		{"a key of nobody", "POST", "/api-keys", `{"name":"k","service_account_id":"x"}`, 404, `"code":5`},
		{"a key that is none", "DELETE", "/api-keys/x", "", 404, `"code":5`},
		{"an issuer without a URL", "POST", "/jwt-issuers", `{"audience":"a"}`, 400, "issuer_url is required"},
		{"an issuer without encryption", "POST", "/jwt-issuers", `{"issuer_url":"http://issuer.test","audience":"a"}`, 400, "https"},
		{"an issuer without an audience", "POST", "/jwt-issuers", `{"issuer_url":"https://issuer.test"}`, 400, "audience is required"},
		{"keys that are no JSON", "POST", "/jwt-issuers", `{"issuer_url":"https://issuer.test","audience":"a","jwks":"x"}`, 400, "jwks"},
		{"half an identity", "POST", "/jwt-issuers", `{"issuer_url":"https://issuer.test","audience":"a","identity_map":[{"token_identity":"t"}]}`, 400, "identity_map"},
		{"an issuer that is none", "GET", "/jwt-issuers/x", "", 404, `"code":5`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			world := newWorld(t)
			list := asAdmin(t, world, "GET", "/service-accounts", "").want(t, 200, "").body
			account := decode[struct {
				ServiceAccounts []accountReply `json:"service_accounts"`
			}](t, list).ServiceAccounts[0].ID
			asAdmin(t, world, tt.method, strings.Replace(tt.path, "ACCOUNT", account, 1), tt.body).want(t, tt.status, tt.inBody)
		})
	}
	for _, path := range []string{"/service-accounts", "/api-keys", "/jwt-issuers"} {
		call(t, newWorld(t), "GET", path, "").want(t, 403, `"code":7`) // keyturn's own role is too small
	}
}

func TestTheOfficialSDKManagesJWTIssuers(t *testing.T) {
	world, ctx := newWorld(t), context.Background()
	admin := officialSDK(world, adminAPIKey)
	entries := []client.JWTIssuerIdentityMapEntry{{TokenIdentity: "sub-1", CcIdentity: "someone@example.com"}}
	made := must[*client.JWTIssuer](t, "add issuer")(admin.AddJWTIssuer(ctx, &client.AddJWTIssuerRequest{IssuerUrl: "https://issuer.test", Audience: "keyturn", IdentityMap: &entries}))
	if made.Id == "" || *made.Claim != "sub" || len(*made.IdentityMap) != 1 {
		t.Errorf("made %+v", made)
	}
	audience := "other"
	must[*client.JWTIssuer](t, "update issuer")(admin.UpdateJWTIssuer(ctx, made.Id, &client.UpdateJWTIssuerRequest{Audience: &audience}))
	if got := must[*client.JWTIssuer](t, "get issuer")(admin.GetJWTIssuer(ctx, made.Id)); got.Audience != audience || got.IssuerUrl != made.IssuerUrl || len(*got.IdentityMap) != 1 {
		t.Errorf("updated to %+v", got)
	}
	if list := must[*client.ListJWTIssuersResponse](t, "list issuers")(admin.ListJWTIssuers(ctx, &client.ListJWTIssuersOptions{})); len(*list.JwtIssuers) != 1 {
		t.Errorf("issuers are %+v", list)
	}
	must[*client.JWTIssuer](t, "delete issuer")(admin.DeleteJWTIssuer(ctx, made.Id))
	if list := must[*client.ListJWTIssuersResponse](t, "list issuers")(admin.ListJWTIssuers(ctx, &client.ListJWTIssuersOptions{})); len(*list.JwtIssuers) != 0 {
		t.Errorf("after the deletion the issuers are %+v", list)
	}
}

func TestTheOrganizationNamesItsPrincipals(t *testing.T) {
	call(t, newWorld(t), "GET", "/organization", "").want(t, 200, `"cockroach_cloud_service_principals":{"aws":{"user_arn":"arn:aws:iam::`).want(t, 200, `"gcp":{"service_account_email":"`)
}

func TestARenamedAccountMovesInTheList(t *testing.T) {
	world := newWorld(t)
	type accounts struct {
		ServiceAccounts []struct{ ID, Name string } `json:"service_accounts"`
	}
	first := decode[accounts](t, asAdmin(t, world, "GET", "/service-accounts", "").want(t, 200, "").body).ServiceAccounts[0]
	asAdmin(t, world, "PATCH", "/service-accounts/"+first.ID, `{"name":"zoe"}`).want(t, 200, "")
	list := decode[accounts](t, asAdmin(t, world, "GET", "/service-accounts", "").want(t, 200, "").body).ServiceAccounts
	if last := list[len(list)-1]; last.ID != first.ID || last.Name != "zoe" {
		t.Errorf("the list is %+v; want the renamed account at its end", list)
	}
}

func TestARefusedChangeOfAnIssuerChangesNothing(t *testing.T) {
	world := newWorld(t)
	const issuer = `{"issuer_url":"https://issuer.test","audience":"a","identity_map":[{"token_identity":"t","cc_identity":"c"}]}`
	made := asAdmin(t, world, "POST", "/jwt-issuers", issuer).want(t, 200, "").body
	path := "/jwt-issuers/" + decode[accountReply](t, made).ID
	asAdmin(t, world, "PATCH", path, `{"identity_map":[{"token_identity":"other","cc_identity":""}]}`).want(t, 400, "identity_map")
	asAdmin(t, world, "PATCH", path, `{"id":"mine","issuer_url":"x"}`).want(t, 400, "issuer_url")
	asAdmin(t, world, "GET", path, "").want(t, 200, made)
}

func TestARoleOnOneClusterIsNoneOnAnother(t *testing.T) {
	world := newWorld(t)
	made := decode[accountReply](t, asAdmin(t, world, "POST", "/service-accounts", `{"name":"a","description":"","roles":[`+
		`{"name":"CLUSTER_DEVELOPER","resource":{"type":"CLUSTER","id":"`+payments+`"}},{"name":"CLUSTER_OPERATOR_WRITER","resource":{"type":"CLUSTER","id":"`+orders+`"}}]}`).want(t, 200, "").body)
	secret := decode[accountReply](t, asAdmin(t, world, "POST", "/api-keys", `{"name":"k","service_account_id":"`+made.ID+`"}`).want(t, 200, "").body).Secret
	for cluster, status := range map[string]int{payments: 403, orders: 200, analytics: 404} {
		call(t, world, "GET", "/clusters/"+cluster+"/cmek", "", bearer(secret)...).want(t, status, "")
	}
	call(t, world, "GET", "/clusters/"+payments, "", bearer(secret)...).want(t, 200, "payments")
}
