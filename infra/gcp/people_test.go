package gcp_test

import (
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/google/hub"
)

// What doctor tries is what the module grants.
func TestPeople_areGrantedWhatDoctorTries(t *testing.T) {
	granted := permitted(t, readModule(t, "."))
	for _, untried := range []string{
		"iam.denypolicies.get", "iam.denypolicies.list", "iam.principalaccessboundarypolicies.get", "resourcemanager.folders.getIamPolicy", "resourcemanager.folders.searchPolicyBindings",
		"resourcemanager.organizations.getIamPolicy", "resourcemanager.organizations.searchPolicyBindings", "resourcemanager.projects.searchPolicyBindings",
	} { // see hub.OperatorGrants
		if _, is := granted["operator"][untried]; !is {
			t.Errorf("an operator is not granted %s", untried)
		}
		delete(granted["operator"], untried)
	}
	for who, grants := range map[string][]hub.Grant{"viewer": hub.ViewerGrants(), "operator": hub.OperatorGrants(), "auditor": hub.AuditorGrants()} {
		tried := map[string]bool{}
		for _, g := range grants {
			tried[g.Permission] = true
		}
		if got, want := slices.Sorted(maps.Keys(granted[who])), slices.Sorted(maps.Keys(tried)); !slices.Equal(got, want) {
			t.Errorf("a %s is granted %v, and doctor tries %v", who, got, want)
		}
	}
}

// The module writes the fields that commands read, where they look for them, and nothing that is secret.
func TestDeployment_isPublishedAsCommandsReadIt(t *testing.T) {
	m := readModule(t, ".")
	written := map[string]bool{}
	for _, found := range regexp.MustCompile(`(?m)(?:\{ |" |\) |\] |var\.[a-z_]+ |local\.[a-z_]+ |[0-9] )([a-z_]+) = `).FindAllStringSubmatch(spaces.ReplaceAllString(m.source["published"], " "), -1) {
		written[found[1]] = true
	}
	read := map[string]bool{}
	published := reflect.TypeFor[hub.Published]()
	for i := range published.NumField() {
		read[published.Field(i).Tag.Get("json")] = true
	}
	if !maps.Equal(written, read) {
		t.Errorf("the module writes %v, commands read %v", slices.Sorted(maps.Keys(written)), slices.Sorted(maps.Keys(read)))
	}
	object, bucket := m.resource(t, "google_storage_bucket_object.deployment"), m.resource(t, "google_storage_bucket.source")
	argumentsOf(t, object, map[string]string{"name": `"` + hub.Object + `"`, "bucket": "google_storage_bucket.source.name", "content": "jsonencode(local.published)"})
	argumentsOf(t, bucket, map[string]string{"name": "local.source_bucket"})
	if got := m.source["source_bucket"]; got != `"${local.bucket_prefix}-source"` {
		t.Errorf("the bucket is named %s", got)
	}
	if got := m.source["bucket_prefix"]; got != `"${replace(var.project, "/[:.]/", "-")}-${var.name}"` || hub.Bucket("example.com:acme", "keyturn") != "example-com-acme-keyturn-source" {
		t.Errorf("the bucket's name begins with %s, and commands look in %s", got, hub.Bucket("example.com:acme", "keyturn"))
	}
	if strings.Contains(m.source["published"], "channel") {
		t.Error("what is published names channels, whose URLs may be secret")
	}
}
