package compliance_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/compliance/checks"
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
	if words[0] == "gcloud" {
		return s.gcloud(words[1:])
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
		i++
		flags[name] = strings.Trim(words[i], "'")
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

// The printed fix of a failure, carried out, makes its check pass.
func TestFixes_that_are_carried_out_make_the_check_pass(t *testing.T) {
	const (
		euKey = "arn:aws:kms:eu-west-1:111122223333:key/mrk-5e3c0b9d71f84a62b6e07c2f18d4a906"
		other = "arn:aws:iam::444455556666:root"
	)
	const ofRing = " --keyring crdb --location us-east1 --project acme"
	id := map[string]any{"KeyId": paymentsKey}
	for _, tt := range []struct {
		check, subject string
		fail           func(w *world)
		// edit is what the person does to the file that a sentence of the fix says to change.
		edit func(t *testing.T, text string) string
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
		{check: "CMEK-05", subject: googleKey, fail: func(w *world) { w.gcloud("kms keys versions disable 2 --key pay", ofRing) }},
		{check: "CMEK-06", subject: googleKey, fail: func(w *world) { w.gcloud("kms keys versions destroy 2 --key pay", ofRing) }},
		{check: "CMEK-07", subject: googleKey, fail: func(w *world) { w.gcloud("kms keys versions disable 1 --key pay", ofRing) }},
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
			withinSeed(t, mixedFleet(), func(t *testing.T, w *world) {
				subject := tt.subject
				if subject == "" {
					subject = paymentsKey
				}
				before := results(w.check())[tt.check+" "+subject]
				tt.fail(w)
				time.Sleep(time.Minute)
				f := results(w.check())[tt.check+" "+subject]
				if f.Result != checks.Fail || before.Result != checks.Pass {
					t.Fatalf("%s: %s, before %s: %s", f.Result, f.Why, before.Result, before.Why)
				}
				s, ran := &shell{w, map[string]string{}}, 0
				for _, step := range f.Fix {
					switch {
					case s.run(step):
						ran++
					case tt.edit != nil && strings.HasPrefix(step, "In policy.json, "):
						s.files["policy.json"] = tt.edit(t, s.files["policy.json"])
					}
				}
				if ran == 0 {
					t.Fatalf("nothing to run in %q", f.Fix)
				}
				time.Sleep(time.Hour)
				if after := results(w.check())[tt.check+" "+subject]; after.Result != checks.Pass {
					t.Errorf("after %s\nit is %s: %s", strings.Join(f.Fix, "\n"), after.Result, after.Why)
				}
			})
		})
	}
}
