package simulator

import "slices"

// googleOperation is one method of an API of Google Cloud.
type googleOperation struct {
	method string
	// path is the URL's, with a star for each part of a name; verb is what stands behind its last colon, "" for standard methods.
	path, verb string
	service    string
	// name is the method's in the reference of its API.
	name       string
	permission string
	// log is the method's name in the audit log, "" for one that leaves no entry here: reads are in the Data Access log only.
	log string
	// use: the entry is one of the Data Access log.
	use bool
	run func(*World, *googleCall) (any, *googleError)
}

// googleService is Google Cloud on the page.
func googleService() Service {
	s := Service{
		Name: "Google Cloud", At: "/v1/, /v2/ and /v3/ (REST, as the client libraries send it with another endpoint, and gcloud with CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS and its like)",
		Doc: "Cloud KMS with symmetric keys, and what access to them rests on: IAM, Resource Manager, Service Usage and Cloud Billing. The log entries that a call causes are under /_simulator/events, as Pub/Sub pushes them, and Cloud Logging lists them.",
	}
	for _, row := range googleOperations {
		s.Operations = append(s.Operations, row.name)
	}
	slices.Sort(s.Operations)
	s.Operations = slices.Compact(s.Operations)
	return s
}

// Paths of Cloud KMS.
const (
	ringsPath    = "v1/projects/*/locations/*/keyRings"
	ringPath     = ringsPath + "/*"
	keysPath     = ringPath + "/cryptoKeys"
	keyPath      = keysPath + "/*"
	versionsPath = keyPath + "/cryptoKeyVersions"
	versionPath  = versionsPath + "/*"

	accountsPath = "v1/projects/*/serviceAccounts"
	accountPath  = accountsPath + "/*"
	deniesPath   = "v2/policies/*/denypolicies"

	boundariesPath = "v3/organizations/*/locations/*/principalAccessBoundaryPolicies"
)

// googleOperations are all methods that are simulated, and googleVerbs the verbs in their paths.
var (
	googleOperations = slices.Concat(kmsRows(), iamRows(), nodeRows(), logRows())

	googleVerbs = func() map[string]bool {
		verbs := map[string]bool{}
		for _, row := range googleOperations {
			verbs[row.verb] = true
		}
		return verbs
	}()
)

// kmsRows are those of google_kms.go. Names in the audit log: docs.cloud.google.com/kms/docs/audit-logging.
func kmsRows() (rows []googleOperation) {
	add := func(method, path, verb, name, permission, log string, run func(*World, *googleCall) (any, *googleError)) {
		rows = append(rows, googleOperation{method, path, verb, kmsService, "cloudkms." + name, "cloudkms." + permission, log, false, run})
	}
	add("GET", ringsPath, "", "keyRings.list", "keyRings.list", "", (*World).listKeyRings)
	add("POST", ringsPath, "", "keyRings.create", "keyRings.create", "CreateKeyRing", (*World).createKeyRing)
	add("GET", ringPath, "", "keyRings.get", "keyRings.get", "", (*World).getKeyRing)
	add("GET", keysPath, "", "cryptoKeys.list", "cryptoKeys.list", "", (*World).listCryptoKeys)
	add("POST", keysPath, "", "cryptoKeys.create", "cryptoKeys.create", "CreateCryptoKey", (*World).createCryptoKey)
	add("GET", keyPath, "", "cryptoKeys.get", "cryptoKeys.get", "", (*World).getCryptoKey)
	add("PATCH", keyPath, "", "cryptoKeys.patch", "cryptoKeys.update", "UpdateCryptoKey", (*World).patchCryptoKey)
	add("POST", keyPath, "updatePrimaryVersion", "cryptoKeys.updatePrimaryVersion", "cryptoKeys.update", "UpdateCryptoKeyPrimaryVersion", (*World).updatePrimaryVersion)
	add("GET", versionsPath, "", "cryptoKeyVersions.list", "cryptoKeyVersions.list", "", (*World).listVersions)
	add("POST", versionsPath, "", "cryptoKeyVersions.create", "cryptoKeyVersions.create", "CreateCryptoKeyVersion", (*World).createVersion)
	add("GET", versionPath, "", "cryptoKeyVersions.get", "cryptoKeyVersions.get", "", (*World).getVersion)
	add("PATCH", versionPath, "", "cryptoKeyVersions.patch", "cryptoKeyVersions.update", "UpdateCryptoKeyVersion", (*World).patchVersion)
	add("POST", versionPath, "destroy", "cryptoKeyVersions.destroy", "cryptoKeyVersions.destroy", "DestroyCryptoKeyVersion", (*World).destroyVersion)
	add("POST", versionPath, "restore", "cryptoKeyVersions.restore", "cryptoKeyVersions.restore", "RestoreCryptoKeyVersion", (*World).restoreVersion)
	for path, collection := range map[string]string{ringPath: "keyRings.", keyPath: "cryptoKeys."} {
		add("GET", path, "getIamPolicy", collection+"getIamPolicy", collection+"getIamPolicy", "", (*World).getPolicy)
		add("POST", path, "setIamPolicy", collection+"setIamPolicy", collection+"setIamPolicy", "SetIamPolicy", (*World).setPolicy)
	}
	add("POST", keyPath, "encrypt", "cryptoKeys.encrypt", "cryptoKeyVersions.useToEncrypt", "Encrypt", (*World).encryptGoogle)
	add("POST", keyPath, "decrypt", "cryptoKeys.decrypt", "cryptoKeyVersions.useToDecrypt", "Decrypt", (*World).decryptGoogle)
	rows[len(rows)-1].use, rows[len(rows)-2].use = true, true
	return rows
}

// iamRows are those of google_iam.go. Names in the audit log: cloud.google.com/iam/docs/audit-logging.
func iamRows() (rows []googleOperation) {
	add := func(method, path, verb, name, permission, log string, run func(*World, *googleCall) (any, *googleError)) {
		rows = append(rows, googleOperation{method, path, verb, iamService, "iam." + name, "iam." + permission, log, false, run})
	}
	const v1 = "google.iam.admin.v1."
	add("GET", accountsPath, "", "serviceAccounts.list", "serviceAccounts.list", "", (*World).listAccounts)
	add("POST", accountsPath, "", "serviceAccounts.create", "serviceAccounts.create", v1+"CreateServiceAccount", (*World).createAccount)
	add("GET", accountPath, "", "serviceAccounts.get", "serviceAccounts.get", "", (*World).getAccount)
	add("DELETE", accountPath, "", "serviceAccounts.delete", "serviceAccounts.delete", v1+"DeleteServiceAccount", (*World).deleteAccount)
	add("POST", accountPath, "disable", "serviceAccounts.disable", "serviceAccounts.disable", v1+"DisableServiceAccount", (*World).disableAccount)
	add("POST", accountPath, "enable", "serviceAccounts.enable", "serviceAccounts.enable", v1+"EnableServiceAccount", (*World).enableAccount)
	add("POST", accountPath, "undelete", "serviceAccounts.undelete", "serviceAccounts.undelete", v1+"UndeleteServiceAccount", (*World).undeleteAccount)
	add("POST", accountPath, "getIamPolicy", "serviceAccounts.getIamPolicy", "serviceAccounts.getIamPolicy", "", (*World).getPolicy)
	add("POST", accountPath, "setIamPolicy", "serviceAccounts.setIamPolicy", "serviceAccounts.setIamPolicy", v1+"SetIAMPolicy", (*World).setPolicy)

	add("GET", "v1/roles/*", "", "roles.get", "roles.get", "", (*World).getRole)
	for _, parent := range []string{"projects", "organizations"} {
		roles := "v1/" + parent + "/*/roles"
		add("POST", roles, "", parent+".roles.create", "roles.create", v1+"CreateRole", (*World).createRole)
		add("GET", roles+"/*", "", parent+".roles.get", "roles.get", "", (*World).getRole)
		add("PATCH", roles+"/*", "", parent+".roles.patch", "roles.update", v1+"UpdateRole", (*World).patchRole)
		add("DELETE", roles+"/*", "", parent+".roles.delete", "roles.delete", v1+"DeleteRole", (*World).deleteRole)
		add("POST", roles+"/*", "undelete", parent+".roles.undelete", "roles.undelete", v1+"UndeleteRole", (*World).undeleteRole)
	}

	const v2 = "google.iam.v2.Policies."
	add("GET", deniesPath, "", "policies.listPolicies", "denypolicies.list", "", (*World).listDenyPolicies)
	add("POST", deniesPath, "", "policies.createPolicy", "denypolicies.create", v2+"CreatePolicy", (*World).createDenyPolicy)
	add("GET", deniesPath+"/*", "", "policies.get", "denypolicies.get", "", (*World).getDenyPolicy)
	add("PUT", deniesPath+"/*", "", "policies.update", "denypolicies.update", v2+"UpdatePolicy", (*World).updateDenyPolicy)
	add("DELETE", deniesPath+"/*", "", "policies.delete", "denypolicies.delete", v2+"DeletePolicy", (*World).deleteDenyPolicy)

	const v3 = "google.iam.v3."
	for _, parent := range []string{"projects", "folders", "organizations"} {
		path, name := "v3/"+parent+"/*/locations/*/policyBindings", parent+".locations.policyBindings."
		add("GET", path, "searchTargetPolicyBindings", name+"searchTargetPolicyBindings", "", "", (*World).searchBindings)
		add("POST", path, "", name+"create", "", v3+"PolicyBindings.CreatePolicyBinding", (*World).createBinding)
		add("DELETE", path+"/*", "", name+"delete", "", v3+"PolicyBindings.DeletePolicyBinding", (*World).deleteBinding)
		for i, verb := range []string{"search", "create", "delete"} {
			row := &rows[len(rows)-3+i]
			row.permission = "resourcemanager." + parent + "." + verb + map[bool]string{true: "PolicyBindings", false: "PolicyBinding"}[verb == "search"]
		}
	}
	const pab = v3 + "PrincipalAccessBoundaryPolicies."
	add("GET", boundariesPath+"/*", "", "organizations.locations.principalAccessBoundaryPolicies.get", "principalaccessboundarypolicies.get", "", (*World).getBoundary)
	add("POST", boundariesPath, "", "organizations.locations.principalAccessBoundaryPolicies.create", "principalaccessboundarypolicies.create", pab+"CreatePrincipalAccessBoundaryPolicy", (*World).createBoundary)
	return rows
}

// nodeRows are those of google_projects.go. Version 1 of Resource Manager has short names in the audit log, version 3 long ones.
func nodeRows() (rows []googleOperation) {
	add := func(service, method, path, verb, name, permission, log string, run func(*World, *googleCall) (any, *googleError)) {
		rows = append(rows, googleOperation{method, path, verb, service, name, permission, log, false, run})
	}
	const manager, permission = "cloudresourcemanager.", "resourcemanager."
	const v3 = "google.cloud.resourcemanager.v3."
	for _, version := range []struct {
		path, log string
		get       func(*World, *googleCall) (any, *googleError)
	}{{"v1/projects/*", "", (*World).getProjectV1}, {"v3/projects/*", v3 + "Projects.", (*World).getProject}} {
		add(resourceService, "GET", version.path, "", manager+"projects.get", permission+"projects.get", "", version.get)
		add(resourceService, "DELETE", version.path, "", manager+"projects.delete", permission+"projects.delete", version.log+"DeleteProject", (*World).deleteProject)
		add(resourceService, "POST", version.path, "undelete", manager+"projects.undelete", permission+"projects.undelete", version.log+"UndeleteProject", (*World).undeleteProject)
		add(resourceService, "POST", version.path, "getIamPolicy", manager+"projects.getIamPolicy", permission+"projects.getIamPolicy", "", (*World).getPolicy)
		add(resourceService, "POST", version.path, "setIamPolicy", manager+"projects.setIamPolicy", permission+"projects.setIamPolicy", version.log+"SetIamPolicy", (*World).setPolicy)
	}
	add(resourceService, "POST", "v3/projects/*", "testIamPermissions", manager+"projects.testIamPermissions", "", "", (*World).testPermissions)
	add(resourceService, "POST", "v1/projects/*", "getAncestry", manager+"projects.getAncestry", permission+"projects.get", "", (*World).getAncestry)
	for path, log := range map[string]string{"folders": "Folders.", "organizations": "Organizations."} {
		add(resourceService, "GET", "v3/"+path+"/*", "", manager+path+".get", permission+path+".get", "", (*World).getFolder)
		add(resourceService, "POST", "v3/"+path+"/*", "getIamPolicy", manager+path+".getIamPolicy", permission+path+".getIamPolicy", "", (*World).getPolicy)
		add(resourceService, "POST", "v3/"+path+"/*", "setIamPolicy", manager+path+".setIamPolicy", permission+path+".setIamPolicy", v3+log+"SetIamPolicy", (*World).setPolicy)
	}
	const usage = "google.api.serviceusage.v1.ServiceUsage."
	add(usageService, "POST", "v1/projects/*/services/*", "disable", "serviceusage.services.disable", "serviceusage.services.disable", usage+"DisableService", (*World).disableService)
	add(usageService, "POST", "v1/projects/*/services/*", "enable", "serviceusage.services.enable", "serviceusage.services.enable", usage+"EnableService", (*World).enableService)
	add(billingService, "GET", "v1/projects/*/billingInfo", "", "cloudbilling.projects.getBillingInfo", "resourcemanager.projects.get", "", (*World).getBilling)
	add(billingService, "PUT", "v1/projects/*/billingInfo", "", "cloudbilling.projects.updateBillingInfo", "resourcemanager.projects.deleteBillingAssignment", "DisableResourceBilling", (*World).updateBilling)
	return rows
}

// logRows are those of google_logging.go. Permissions are on the projects that the body names.
func logRows() []googleOperation {
	return []googleOperation{{"POST", "v2/entries", "list", loggingService, "logging.entries.list", readsLogs, "", false, (*World).listEntries}}
}
