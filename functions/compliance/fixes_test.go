package compliance_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/compliance"
	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/simulator"
)

// shell carries out the commands that a fix prints, as the CLIs of the clouds do, over the simulated KMSs. Files are kept by name.
type shell struct {
	*world
	files map[string]string
}

// run carries out a printed command. ok is false if it is none that changes or reads a simulated cloud.
func (s *shell) run(command string) (ok bool) {
	s.t.Helper()
	command, into, _ := strings.Cut(command, " > ")
	words := strings.Fields(command)
	switch strings.Join(words[:min(3, len(words))], " ") {
	case "aws iam get-role":
		s.files[into] = s.roles.trust
		return true
	case "aws iam update-assume-role-policy":
		s.roles.trust = s.files["policy.json"]
		return true
	case "aws events enable-rule":
		flags := map[string]string{}
		for i := 3; i+1 < len(words); i += 2 {
			flags[words[i]] = words[i+1]
		}
		account := "111122223333"
		if flags["--event-bus-name"] != "" {
			account = "" // the hub's own
		}
		s.bridge.enable(account, flags["--region"], flags["--event-bus-name"], flags["--name"])
		return true
	case "gcloud secrets versions":
		s.Google.Secrets = []compliance.Secret{kept{"projects/acme/secrets/keyturn", 0}}
		return true
	case "aws secretsmanager put-secret-value":
		s.AWS.Secrets = []compliance.Secret{kept{"the secret", 0}}
		return true
	}
	if words[0] == "gcloud" {
		return s.gcloud(words[1:])
	}
	if words[0] == "keyturn" && words[1] == "retry" { // what rotation does then: the same request once more
		s.again(words[2])
		return true
	}
	if len(words) < 3 || words[0] != "aws" || words[1] != "kms" {
		return false
	}
	input, region, query := map[string]any{}, "", ""
	for i := 3; i+1 < len(words); i += 2 {
		name, value := strings.TrimPrefix(words[i], "--"), strings.Trim(words[i+1], "'")
		switch name {
		case "region":
			region = value
		case "query":
			query = value
		case "output":
		default:
			if file, isFile := strings.CutPrefix(value, "file://"); isFile {
				value = s.files[file]
			}
			var parameter any = value
			if number, err := strconv.Atoi(value); err == nil {
				parameter = number
			}
			input[camel(name)] = parameter
		}
	}
	output := s.kms(region, camel(words[2]), input)
	if into != "" {
		text, _ := output[query].(string)
		s.files[into] = text
	}
	return true
}

// camel spells the CLI's name of an operation or a parameter as the API does.
func camel(name string) string {
	var out strings.Builder
	for word := range strings.SplitSeq(name, "-") {
		out.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return out.String()
}

// kms calls the simulated KMS.
func (w *world) kms(region, operation string, input map[string]any) (output map[string]any) {
	w.t.Helper()
	body, err := json.Marshal(input)
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, "http://localhost/", bytes.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("X-Amz-Target", "TrentService."+operation)
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=owner/20000101/"+region+"/kms/aws4_request")
	answer, err := simulator.Transport(w.simulator.Handler()).RoundTrip(r)
	if err != nil {
		w.t.Fatal(err)
	}
	data, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		w.t.Fatalf("%s %s: %d %s %v", operation, body, answer.StatusCode, data, err)
	}
	if len(data) > 0 {
		if err := json.Unmarshal(data, &output); err != nil {
			w.t.Fatal(err)
		}
	}
	return output
}

// with is the key policy with a further statement, without without the last one.
func (w *world) with(statement string) {
	w.t.Helper()
	text := w.kms(east, "GetKeyPolicy", map[string]any{"KeyId": paymentsKey})["Policy"].(string)
	w.putPolicy(paymentsKey, editPolicy(w.t, text, func(all []any) []any {
		var added any
		if err := json.Unmarshal([]byte(statement), &added); err != nil {
			w.t.Fatal(err)
		}
		return append(all, added)
	}))
}

func (w *world) putPolicy(key, policy string) {
	w.t.Helper()
	w.kms(strings.Split(key, ":")[3], "PutKeyPolicy", map[string]any{"KeyId": key, "Policy": policy, "PolicyName": "default", "BypassPolicyLockoutSafetyCheck": true})
}

func editPolicy(t *testing.T, text string, edit func([]any) []any) string {
	t.Helper()
	var policy map[string]any
	if err := json.Unmarshal([]byte(text), &policy); err != nil {
		t.Fatal(err)
	}
	policy["Statement"] = edit(policy["Statement"].([]any))
	data, err := json.Marshal(policy)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// withoutLast is what a person does who takes out the statement that the fix is about: the one that was added.
func withoutLast(t *testing.T, text string) string {
	return editPolicy(t, text, func(all []any) []any { return all[:len(all)-1] })
}

// again sends the request of the cluster's rotation once more and notes that it was done.
func (w *world) again(cluster string) {
	w.t.Helper()
	if err := w.simulator.PUTCMEK("keyturn", cluster); err != nil {
		w.t.Fatal(err)
	}
	time.Sleep(time.Hour)
	w.noteDone(cluster)
}

// noteDone notes in the ledger under which versions the store keys are.
func (w *world) noteDone(cluster string) {
	w.t.Helper()
	_, err := w.Ledger.UpdateCluster(w.t.Context(), cluster, func(c *ledger.Cluster) error {
		c.NextLook = time.Now().Add(time.Hour)
		for _, k := range w.simulator.StoreKeys() {
			version := cmek.MaterialVersion(k.Material)
			if k.URI.Type() == cmek.GCPCloudKMS {
				version = cmek.KeyVersion{Scheme: cmek.Primary, ID: k.Material}
			}
			if k.ClusterID == cluster {
				c.SetDone(ledger.Done{Region: k.Region, Key: k.URI, Version: version, At: time.Now(), Followed: true})
			}
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// gcloud carries out a command of gcloud.
func (s *shell) gcloud(words []string) (ok bool) {
	s.t.Helper()
	var arguments []string
	flags := map[string]string{}
	for i := 0; i < len(words); i++ {
		name, isFlag := strings.CutPrefix(words[i], "--")
		if !isFlag {
			arguments = append(arguments, words[i])
			continue
		}
		if i++; i < len(words) {
			flags[name] = strings.Trim(words[i], "'")
		}
	}
	last := arguments[len(arguments)-1]
	command := strings.Join(arguments[:len(arguments)-1], " ")
	ring := "projects/" + flags["project"] + "/locations/" + flags["location"] + "/keyRings/" + flags["keyring"] + "/cryptoKeys/"
	account := "projects/" + flags["project"] + "/serviceAccounts/" + last
	switch command {
	case "kms keys versions enable", "kms keys versions disable":
		state := map[string]string{"enable": "ENABLED", "disable": "DISABLED"}[arguments[3]]
		s.google(http.MethodPatch, ring+flags["key"]+"/cryptoKeyVersions/"+last+"?updateMask=state", map[string]any{"state": state})
	case "kms keys versions destroy", "kms keys versions restore":
		s.google(http.MethodPost, ring+flags["key"]+"/cryptoKeyVersions/"+last+":"+arguments[3], map[string]any{})
	case "kms keys update":
		days, err := strconv.Atoi(strings.TrimSuffix(flags["rotation-period"], "d"))
		if err != nil {
			s.t.Fatal(err)
		}
		s.google(http.MethodPatch, ring+last+"?updateMask=rotationPeriod,nextRotationTime",
			map[string]any{"rotationPeriod": fmt.Sprintf("%ds", days*86400), "nextRotationTime": flags["next-rotation-time"]})
	case "kms keys add-iam-policy-binding", "kms keys remove-iam-policy-binding":
		s.bind(http.MethodGet, ring+last, flags["role"], flags["member"], arguments[2] == "add-iam-policy-binding")
	case "iam service-accounts enable", "iam service-accounts disable":
		s.google(http.MethodPost, account+":"+arguments[2], map[string]any{})
	case "iam service-accounts add-iam-policy-binding", "iam service-accounts remove-iam-policy-binding":
		s.bind(http.MethodPost, account, flags["role"], flags["member"], arguments[2] == "add-iam-policy-binding")
	case "kms keys versions": // create --primary
		made := s.google(http.MethodPost, ring+flags["key"]+"/cryptoKeyVersions", map[string]any{})
		name, _ := made["name"].(string)
		s.google(http.MethodPost, ring+flags["key"]+":updatePrimaryVersion", map[string]any{"cryptoKeyVersionId": name[strings.LastIndex(name, "/")+1:]})
	default:
		return false
	}
	return true
}

// bind changes a binding of an allow policy.
func (s *shell) bind(method, resource, role, member string, add bool) {
	s.t.Helper()
	policy := s.google(method, resource+":getIamPolicy", nil)
	bindings, _ := policy["bindings"].([]any)
	var changed []any
	for _, b := range bindings {
		binding := b.(map[string]any)
		var members []any
		for _, m := range binding["members"].([]any) {
			if m != member || binding["role"] != role {
				members = append(members, m)
			}
		}
		if len(members) > 0 {
			changed = append(changed, map[string]any{"role": binding["role"], "members": members})
		}
	}
	if add {
		changed = append(changed, map[string]any{"role": role, "members": []any{member}})
	}
	policy["bindings"] = changed
	s.google(http.MethodPost, resource+":setIamPolicy", map[string]any{"policy": policy})
}

// google calls the simulated APIs of Google Cloud.
func (w *world) google(method, path string, input map[string]any) (output map[string]any) {
	w.t.Helper()
	var body io.Reader
	if input != nil {
		data, err := json.Marshal(input)
		if err != nil {
			w.t.Fatal(err)
		}
		body = bytes.NewReader(data)
	}
	r, err := http.NewRequestWithContext(w.t.Context(), method, "http://google.test/v1/"+path, body)
	if err != nil {
		w.t.Fatal(err)
	}
	answer, err := simulator.Transport(w.simulator.Handler()).RoundTrip(r)
	if err != nil {
		w.t.Fatal(err)
	}
	data, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		w.t.Fatalf("%s %s: %d %s %v", method, path, answer.StatusCode, data, err)
	}
	output = map[string]any{}
	if len(data) > 0 {
		if err := json.Unmarshal(data, &output); err != nil {
			w.t.Fatal(err)
		}
	}
	return output
}

// gcloud is a command of somebody who breaks something.
func (w *world) gcloud(command, more string) {
	w.t.Helper()
	if s := (&shell{world: w}); !s.gcloud(strings.Fields(command + more)) {
		w.t.Fatalf("gcloud %s", command)
	}
}

// failed lets a rotation of the cluster fail; behind rotates the key without re-encrypting the store key in time.
func failed(cluster, region string) func(*world) {
	return func(w *world) {
		if err := w.simulator.FailNextRotation(cluster, region, "the key could not be used"); err != nil {
			w.t.Fatal(err)
		}
		w.again(cluster)
	}
}

func behind(cluster, key string) func(*world) {
	return func(w *world) {
		w.noteDone(cluster)
		if err := w.simulator.Rotate(key); err != nil {
			w.t.Fatal(err)
		}
		time.Sleep(30 * time.Hour)
	}
}

// elsewhere gives the cluster a region whose key is in another one.
func elsewhere(cluster, region string, key cmek.KeyURI, principal cmek.Principal) func(*world) {
	return func(w *world) {
		spec := cmek.KeySpec{Type: key.Type(), URI: key, AuthPrincipal: principal}
		if err := w.simulator.AddRegion(cluster, 3, cmek.RegionSpec{Region: region, KeySpec: spec}); err != nil {
			w.t.Fatal(err)
		}
	}
}

// bareOnGoogle is a cluster on Google Cloud without CMEK.
const bareOnGoogle = "7c1d9e20-3a4b-4c5d-8e6f-0000000000a2"

func withBare(seed simulator.Seed) simulator.Seed {
	seed.Clusters = append(seed.Clusters, simulator.ClusterSeed{ID: bareOnGoogle, Name: "bare-on-google", CloudProvider: "GCP", AccountID: "crl-prod-abc", AgeDays: 10,
		Regions: []simulator.RegionSeed{{Name: "us-east1"}}})
	return seed
}

// enable enables the CMEK of a cluster in one region.
func (w *world) enable(cluster, region string, key cmek.KeyURI, principal cmek.Principal) {
	w.t.Helper()
	if key.Type() == cmek.GCPCloudKMS {
		w.gcloud("iam service-accounts add-iam-policy-binding "+string(principal)+" --member serviceAccount:crl-kms-user-"+cluster[len(cluster)-12:]+
			"@crl-prod-abc.iam.gserviceaccount.com --role roles/iam.serviceAccountTokenCreator", " --project acme")
		time.Sleep(time.Hour)
	}
	spec := cmek.RegionSpec{Region: region, KeySpec: cmek.KeySpec{Type: key.Type(), URI: key, AuthPrincipal: principal}}
	w.cmek(http.MethodPost, cluster, map[string]any{"region_specs": []cmek.RegionSpec{spec}})
}

// cmek calls the Cloud API about the CMEK of a cluster, and waits for the operation.
func (w *world) cmek(method, cluster string, input map[string]any) {
	w.t.Helper()
	body, err := json.Marshal(input)
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(w.t.Context(), method, "http://localhost/api/v1/clusters/"+cluster+"/cmek", bytes.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+w.seed.APIKeys[0].Secret)
	answer, err := simulator.Transport(w.simulator.Handler()).RoundTrip(r)
	if err != nil {
		w.t.Fatal(err)
	}
	if data, err := io.ReadAll(answer.Body); err != nil || answer.StatusCode != http.StatusOK {
		w.t.Fatalf("%s CMEK of %s: %d %s %v", method, cluster, answer.StatusCode, data, err)
	}
	time.Sleep(time.Hour)
}

// revoked revokes the CMEK of a cluster, restored is what the support of Cockroach Labs does then.
func revoked(cluster string) func(*world) {
	return func(w *world) { w.cmek(http.MethodPatch, cluster, map[string]any{"action": "REVOKE"}) }
}

func restored(cluster string) func(*world) {
	return func(w *world) {
		if err := w.simulator.Restore(cluster); err != nil {
			w.t.Fatal(err)
		}
	}
}

// notCarriedOut says why no fix of a check is carried out here, by check and cloud, or by check.
var notCarriedOut = map[string]string{
	"CMEK-07 AWS": "the command is that of CMEK-05; no test leaves a past key",
	"CMEK-11":     "only the owner has the key material that is to be imported",
	"CMEK-15 AWS": "KMS stores no policy with a deleted principal, and the simulator deletes no roles",
	"CMEK-24 AWS": "how long a scheduled deletion waits is not read",
	"CMEK-24 GCP": "the duration of a key is fixed: the fix is another key, to which functions/rotation moves clusters",
	"CMEK-25 GCP": "the fix is to apply the Terraform module, whose tests are those of infra/gcp",
	"CMEK-26 AWS": "the simulator has no trails; functions/trailcheck has tests of what they record",
	"CMEK-26 GCP": "the simulated projects keep no audit configuration",
	"CMEK-27":     "only Cockroach Labs or the configuration of backups helps",
	"CMEK-29":     "whether a change was planned is for people to say; an exception leaves it a failure",
	"CMEK-32":     "the fix is an order, which functions/rotation carries out, or an exception",
}

// goodTrust is the trust policy that the checks ask for.
const goodTrust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["900000000001","900000000002"]},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"3b1f7a52-6d0c-4e8b-9f21-5c7a90d4e613"}}}]}`

// The printed fix of a failure, carried out, makes its check pass.
func TestFixes_that_are_carried_out_make_the_check_pass(t *testing.T) {
	const (
		euKey = "arn:aws:kms:eu-west-1:111122223333:key/mrk-5e3c0b9d71f84a62b6e07c2f18d4a906"
		other = "arn:aws:iam::444455556666:root"
	)
	const ofRing = " --keyring crdb --location us-east1 --project acme"
	id := map[string]any{"KeyId": paymentsKey}
	verified := map[string]bool{}
	for _, tt := range []struct {
		check, subject string
		fail           func(w *world)
		// edit is what the person does to the file that a sentence of the fix says to change.
		edit func(t *testing.T, text string) string
		// says is part of a sentence of the fix, and person what somebody does who reads it.
		says   string
		person func(w *world)
	}{
		{check: "CMEK-05", fail: func(w *world) { w.kms(east, "DisableKey", id) }},
		{check: "CMEK-06", fail: func(w *world) { w.kms(east, "ScheduleKeyDeletion", id) }},
		{check: "CMEK-08", fail: func(w *world) { w.kms(east, "DisableKeyRotation", id) }},
		{check: "CMEK-09", fail: func(w *world) {
			w.kms(east, "EnableKeyRotation", map[string]any{"KeyId": paymentsKey, "RotationPeriodInDays": 2000})
		}},
		{check: "CMEK-10", fail: func(w *world) {
			w.kms(east, "DisableKeyRotation", id)
			w.Declared.Keys = []checks.KeyDeclaration{{Key: paymentsKey, CryptoperiodDays: 100, OwnerRotated: true}}
		}},
		{check: "CMEK-13", edit: withoutLast, fail: func(w *world) {
			w.with(`{"Effect":"Allow","Principal":"*","Action":"kms:Decrypt","Resource":"*"}`)
		}},
		{check: "CMEK-14", edit: withoutLast, fail: func(w *world) {
			w.with(`{"Effect":"Allow","Principal":{"AWS":"` + other + `"},"Action":"kms:Decrypt","Resource":"*"}`)
		}},
		{check: "CMEK-18", edit: withoutLast, fail: func(w *world) {
			w.with(`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/admin"},"Action":["kms:PutKeyPolicy","kms:Decrypt"],"Resource":"*"}`)
		}},
		{check: "CMEK-12", subject: paymentsKey + " " + paymentsRole, edit: withoutLast, fail: func(w *world) {
			w.with(`{"Effect":"Deny","Principal":{"AWS":"` + paymentsRole + `"},"Action":"kms:Decrypt","Resource":"*"}`)
		}},
		{check: "CMEK-20", fail: func(w *world) {
			w.kms(east, "CreateGrant", map[string]any{"KeyId": paymentsKey, "GranteePrincipal": "arn:aws:iam::111122223333:role/batch", "Operations": []string{"Decrypt", "CreateGrant"}})
		}},
		{check: "CMEK-21", subject: euKey, fail: func(w *world) {
			text := w.kms("eu-west-1", "GetKeyPolicy", map[string]any{"KeyId": euKey})["Policy"].(string)
			w.putPolicy(euKey, editPolicy(w.t, text, func(all []any) []any {
				return append(all, map[string]any{"Effect": "Deny", "Principal": map[string]any{"AWS": other}, "Action": "kms:Decrypt", "Resource": "*"})
			}))
		}},
		{check: "CMEK-15", subject: googleKey, fail: func(w *world) {
			w.gcloud("kms keys add-iam-policy-binding pay --member deleted:user:bob@acme.example?uid=7 --role roles/cloudkms.viewer", ofRing)
		}},
		{check: "CMEK-18", subject: googleKey, fail: func(w *world) {
			w.gcloud("kms keys add-iam-policy-binding pay --member serviceAccount:"+googleAccount+" --role roles/cloudkms.admin", ofRing)
		}},
		{check: "CMEK-23", says: "declare an exception or another clusters_per_key", person: func(w *world) { w.Declared.Thresholds.ClustersPerKey = 2 }, fail: func(w *world) {
			w.Declared.Thresholds.ClustersPerKey = 1
		}},
		{check: "CMEK-22", subject: payments + "/eu-west-1", says: "declare under residency", fail: elsewhere(payments, "eu-west-1", paymentsKey, paymentsRole),
			person: func(w *world) { w.Declared.Residency = map[string][]string{"eu-west-1": {east}} }},
		{check: "CMEK-22", subject: onGoogle + "/us-west2", says: "declare under residency", fail: elsewhere(onGoogle, "us-west2", googleKey, googleAccount),
			person: func(w *world) { w.Declared.Residency = map[string][]string{"us-west2": {"us-east1"}} }},
		{check: "CMEK-01", subject: payments, says: "Ask Cockroach Labs' support", fail: revoked(payments), person: restored(payments)},
		{check: "CMEK-01", subject: onGoogle, says: "Ask Cockroach Labs' support", fail: revoked(onGoogle), person: restored(onGoogle)},
		{check: "CMEK-02", subject: payments + "/" + east, says: "Ask Cockroach Labs' support", fail: revoked(payments), person: restored(payments)},
		{check: "CMEK-02", subject: onGoogle + "/us-east1", says: "Ask Cockroach Labs' support", fail: revoked(onGoogle), person: restored(onGoogle)},
		{check: "CMEK-23", subject: googleKey, says: "declare an exception or another clusters_per_key", person: func(w *world) { w.Declared.Thresholds.ClustersPerKey = 2 }, fail: func(w *world) {
			w.enable(bareOnGoogle, "us-east1", googleKey, googleAccount)
			w.Declared.Thresholds.ClustersPerKey = 1
		}},
		{check: "CMEK-31", says: "take back retired", person: func(w *world) { w.Declared.Keys = nil }, fail: func(w *world) {
			w.Declared.Keys = []checks.KeyDeclaration{{Key: paymentsKey, Retired: true}}
		}},
		{check: "CMEK-31", subject: googleKey, says: "take back retired", person: func(w *world) { w.Declared.Keys = nil }, fail: func(w *world) {
			w.Declared.Keys = []checks.KeyDeclaration{{Key: googleKey, Retired: true}}
		}},
		{check: "CMEK-03", subject: payments + "/" + east, fail: failed(payments, east)},
		{check: "CMEK-03", subject: onGoogle + "/us-east1", fail: failed(onGoogle, "us-east1")},
		{check: "CMEK-04", subject: payments + "/" + east, fail: behind(payments, paymentsKey)},
		{check: "CMEK-04", subject: onGoogle + "/us-east1", fail: behind(onGoogle, googleKey)},
		{check: "CMEK-10", subject: googleKey, fail: func(w *world) {
			w.Declared.Keys = []checks.KeyDeclaration{{Key: googleKey, CryptoperiodDays: 10, OwnerRotated: true}}
		}},
		{check: "CMEK-16", subject: paymentsRole, edit: func(*testing.T, string) string { return goodTrust }, fail: func(w *world) {
			w.roles.trust, _, _ = strings.Cut(goodTrust, `,"Condition"`)
			w.roles.trust += "}]}"
		}},
		{check: "CMEK-25", subject: "AWS/111122223333/us-east-1", fail: func(w *world) {
			for _, id := range []string{"111122223333/us-east-1//keyturn-kms-calls", "/us-east-1/keyturn/keyturn-alerting-event-kms"} {
				rule := w.bridge.rules[id]
				rule.State = "DISABLED"
				w.bridge.rules[id] = rule
			}
		}},
		{check: "CMEK-30", subject: "projects/acme/secrets/keyturn", fail: func(w *world) {
			w.Google.Secrets = []compliance.Secret{kept{"projects/acme/secrets/keyturn", 100 * 24 * time.Hour}}
		}},
		{check: "CMEK-30", subject: "the secret", fail: func(w *world) { w.AWS.Secrets = []compliance.Secret{kept{"the secret", 100 * 24 * time.Hour}} }},
		{check: "CMEK-05", subject: googleKey, fail: func(w *world) { w.gcloud("kms keys versions disable 2 --key pay", ofRing) }},
		{check: "CMEK-06", subject: googleKey, fail: func(w *world) { w.gcloud("kms keys versions destroy 2 --key pay", ofRing) }},
		{check: "CMEK-07", subject: googleKey, fail: func(w *world) { w.noteDone(onGoogle); w.gcloud("kms keys versions disable 1 --key pay", ofRing) }},
		{check: "CMEK-08", subject: googleKey, fail: func(w *world) {
			w.google(http.MethodPatch, googleKey+"?updateMask=rotationPeriod,nextRotationTime", map[string]any{})
		}},
		{check: "CMEK-09", subject: googleKey, fail: func(w *world) {
			w.gcloud("kms keys update pay --rotation-period 2000d --next-rotation-time 2001-01-01T00:00:00Z", ofRing)
		}},
		{check: "CMEK-12", subject: access, fail: func(w *world) {
			w.gcloud("kms keys remove-iam-policy-binding pay --member serviceAccount:"+googleAccount+" --role "+keyRole, ofRing)
		}},
		{check: "CMEK-13", subject: googleKey, fail: func(w *world) {
			w.gcloud("kms keys add-iam-policy-binding pay --member allUsers --role roles/cloudkms.cryptoKeyDecrypter", ofRing)
		}},
		{check: "CMEK-14", subject: googleKey, fail: func(w *world) {
			w.gcloud("kms keys add-iam-policy-binding pay --member user:eve@acme.example --role roles/cloudkms.cryptoKeyDecrypter", ofRing)
		}},
		{check: "CMEK-17", subject: googleAccount, fail: func(w *world) {
			w.gcloud("iam service-accounts disable "+googleAccount, " --project acme")
		}},
	} {
		t.Run(tt.check+" "+tt.subject, func(t *testing.T) {
			withinSeed(t, withBare(mixedFleet()), func(t *testing.T, w *world) {
				subject := tt.subject
				if subject == "" {
					subject = paymentsKey
				}
				w.roles.trust, w.AWS.Secrets = goodTrust, []compliance.Secret{kept{"the secret", 0}}
				w.Google.Secrets = []compliance.Secret{kept{"projects/acme/secrets/keyturn", 0}}
				w.watched()
				before := results(w.check())[tt.check+" "+subject]
				tt.fail(w)
				time.Sleep(time.Minute)
				f := results(w.check())[tt.check+" "+subject]
				if f.Result != checks.Fail || before.Result == checks.Fail || before.Result == checks.Error {
					t.Fatalf("%s: %s, before %s: %s", f.Result, f.Why, before.Result, before.Why)
				}
				verified[tt.check+" "+string(f.Subject.Cloud)] = true
				s, ran := &shell{w, map[string]string{}}, 0
				for _, step := range f.Fix {
					switch {
					case s.run(step):
						ran++
					case tt.says != "" && strings.Contains(step, tt.says):
						tt.person(w)
						ran++
					case tt.edit != nil && strings.HasPrefix(step, "In policy.json, "):
						s.files["policy.json"] = tt.edit(t, s.files["policy.json"])
					}
				}
				if ran == 0 {
					t.Fatalf("nothing to run in %q", f.Fix)
				}
				time.Sleep(time.Hour)
				if after := results(w.check())[tt.check+" "+subject]; after.Result != checks.Pass && after.Result != before.Result {
					t.Errorf("after %s\nit is %s: %s", strings.Join(f.Fix, "\n"), after.Result, after.Why)
				}
			})
		})
	}
	if t.Failed() {
		return
	}
	var list strings.Builder
	all, carriedOut := 0, 0
	for _, c := range checks.Catalog() {
		for cloud, none := range map[checks.Cloud]string{checks.AWS: c.AWS.NotApplicable, checks.GCP: c.GCP.NotApplicable} {
			if none == "" {
				all++
				if verified[c.ID+" "+string(cloud)] {
					carriedOut++
				}
			}
		}
		for _, cloud := range []checks.Cloud{checks.AWS, checks.GCP} {
			id, why := c.ID+" "+string(cloud), map[checks.Cloud]string{checks.AWS: c.AWS.NotApplicable, checks.GCP: c.GCP.NotApplicable}[cloud]
			reason := cmp.Or(notCarriedOut[id], notCarriedOut[c.ID])
			switch {
			case why != "":
				continue
			case verified[id] == (reason != ""):
				t.Errorf("%s: carried out %v, and a reason why not: %q", id, verified[id], reason)
			case verified[id]:
				reason = "fix verified by applying it to the simulator and checking again"
			}
			fmt.Fprintf(&list, "%s: %s\n", id, reason)
		}
	}
	fmt.Fprintf(&list, "%d of %d verified\n", carriedOut, all)
	if carriedOut*3 < all*2 {
		t.Errorf("%d of %d are verified, less than two thirds", carriedOut, all)
	}
	golden(t, "testdata/fixes_carried_out.txt", list.String())
}

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; run go test -update and read the difference:\n%s", file, got)
	}
}
