package google_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/policy/google"
)

// A judge asks with what it has, reads what is missing, and asks again: what an event set replaces what was read.
func Example() {
	const key, sa = "projects/p/locations/us-east1/keyRings/r/cryptoKeys/k", "cmek@p.iam.gserviceaccount.com"
	account, now := google.ServiceAccount{Email: sa}, time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

	// What getIamPolicy returned for each resource that Missing names; deny policies and parents likewise.
	docs := google.Documents{Parents: map[string][]string{"projects/p": {}}, Denies: map[string][]google.DenyPolicy{"projects/p": {}},
		Boundaries: map[string][]google.Boundary{"projects/p": {}}}
	for _, missing := range google.KeyAccess(docs, key, account, now).Missing() {
		fmt.Println("read", missing)
		text := `{"etag":"ACAB"}`
		if strings.HasSuffix(missing.Name, "/cryptoKeys/k") {
			text = `{"version":1,"bindings":[{"role":"roles/cloudkms.cryptoKeyEncrypterDecrypter","members":["serviceAccount:` + sa + `"]}]}`
		}
		if read, err := google.ParsePolicy(text); err == nil { // else it is as if it was not read
			docs = docs.With(missing.Name, read)
		}
	}
	before := docs

	// The policy that SetIamPolicy set, in the event.
	set, err := google.ParsePolicy(`{"version":1,"etag":"BwX","bindings":[{"role":"roles/cloudkms.viewer","members":["serviceAccount:` + sa + `","user:ops@example.com"]}]}`)
	if err != nil {
		fmt.Println(err)
		return
	}
	after := before.With(key, set)
	fmt.Println(google.KeyAccess(after, key, account, now).Decision())
	for _, sentence := range google.DiffKey(before, after, key, now, account) {
		fmt.Println(sentence)
	}
	// Output:
	// read the policy of key k (cloudkms.cryptoKeys.getIamPolicy)
	// read the policy of key ring r (cloudkms.keyRings.getIamPolicy)
	// read the policy of project p (resourcemanager.projects.getIamPolicy)
	// denied
	// cmek@p.iam.gserviceaccount.com lost the right to encrypt and decrypt with key k: no binding of key k, key ring r, project p gives it
}
