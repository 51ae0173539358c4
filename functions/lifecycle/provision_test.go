package lifecycle

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/policy"
)

const organizationID = "3b1f7a52-6d0c-4e8b-9f21-5c7a90d4e613"

// asked is a request for the guide with the facts about it.
type asked struct {
	request      ProvisionRequest
	cluster      cmek.Cluster
	clusterErr   error
	organization string
	orgErr       error
}

func (a asked) guide() Provisioning {
	var d decision
	d.Request = Request{Kind: ledger.OperationEnable, ClusterID: a.cluster.ID}
	d.Cluster, d.ClusterErr = a.cluster, a.clusterErr
	return provision(a.request, d, a.organization, a.orgErr)
}

func onAWS() asked {
	return asked{
		request: ProvisionRequest{Type: cmek.AWSKMS, Account: "111122223333", At: noon},
		cluster: cmek.Cluster{ID: "7c1d9e20-3a4b-4c5d-8e6f-000000000006", Name: "analytics", Plan: cmek.PlanAdvanced, CloudProvider: "AWS", AccountID: "900000000006",
			State: cmek.StateCreated, Regions: []cmek.Region{{Name: west, NodeCount: 3}, {Name: east, NodeCount: 3}}},
		organization: organizationID,
	}
}

func onGCP() asked {
	a := onAWS()
	a.request.Type, a.request.Account = cmek.GCPCloudKMS, "acme-keys"
	a.cluster.CloudProvider, a.cluster.AccountID, a.cluster.Regions = "GCP", "crl-prod-abc", []cmek.Region{{Name: "us-east1", NodeCount: 3}}
	return a
}

func withKeys(a asked) asked {
	a.request.Keys = map[string]cmek.KeyURI{}
	for _, r := range a.cluster.Regions {
		a.request.Keys[r.Name] = cmek.KeyURI("arn:aws:kms:" + r.Name + ":111122223333:key/bbbbbbbb-1111-2222-3333-444444444444")
		if a.cluster.CloudProvider == "GCP" {
			a.request.Keys[r.Name] = cmek.KeyURI("projects/acme-keys/locations/" + r.Name + "/keyRings/crdb-analytics/cryptoKeys/analytics")
		}
	}
	return a
}

func byVault(a asked) asked { a.request.Vault = true; return a }

// guides are all that can be printed.
func guides() map[string]asked {
	return map[string]asked{
		"AWS": onAWS(), "AWS with keys": withKeys(onAWS()), "Google": onGCP(), "Vault on AWS": byVault(onAWS()), "Vault on AWS with keys": byVault(withKeys(onAWS())),
		"Vault on Google": byVault(onGCP()), "Vault on Google with keys": byVault(withKeys(onGCP())),
	}
}

// Every line is a sentence or a command that can be pasted, whatever the cluster's name holds; and the service account comes first.
func TestGuide_canBePasted(t *testing.T) {
	for name, a := range guides() {
		for _, called := range []string{"analytics", "x'; rm -rf ~ #", "ünï $(id)"} {
			a.cluster.Name, a.request.Name = called, "analytics"
			p := a.guide()
			if len(p.Refusals) > 0 || len(p.Steps) < 3 || p.Steps[0].Route != "prerequisites" {
				t.Fatalf("%s: refused %v, steps %v", name, p.Refusals, p.Steps)
			}
			for _, step := range p.Steps {
				cmektest.CheckSteps(t, step.Lines...)
				if len(step.Lines) == 0 {
					t.Errorf("%s: step %q is empty", name, step.Title)
				}
			}
			first := strings.Join(p.Steps[0].Lines, "\n")
			for _, want := range []string{"Cluster Operator (CLUSTER_OPERATOR_WRITER)", "keyturn-api-key"} {
				if !strings.Contains(first, want) {
					t.Errorf("%s: the prerequisites do not say %q:\n%s", name, want, first)
				}
			}
			if !strings.Contains(first, "/dev/stdin") && !strings.Contains(first, "--data-file=-") {
				t.Errorf("%s: the secret is not read from the standard input:\n%s", name, first)
			}
			for _, f := range p.Files {
				if strings.HasSuffix(f.Name, ".json") && !json.Valid([]byte(f.Content)) {
					t.Errorf("%s: %s is no JSON: %s", name, f.Name, f.Content)
				}
			}
		}
	}
}

// What the guide makes is what the judge of enable asks for.
func TestGuideOnAWS_passesItsOwnVerification(t *testing.T) {
	a := withKeys(onAWS())
	p := a.guide()
	content := func(name string) string {
		for _, f := range p.Files {
			if f.Name == name {
				return f.Content
			}
		}
		t.Fatalf("there is no file %s", name)
		return ""
	}
	specs, err := ParseSpecs([]byte(content("cmek_config.json")))
	if err != nil || len(specs) != 2 {
		t.Fatalf("the file for enable: %v %v", specs, err)
	}
	for _, spec := range specs {
		use := cmek.Use{ClusterID: a.cluster.ID, CloudAccount: a.cluster.AccountID, Spec: spec.KeySpec}
		documents := func(trust, key string) map[string]document {
			return map[string]document{string(spec.KeySpec.AuthPrincipal): {text: trust}, string(spec.KeySpec.URI): {text: key},
				ledger.RolePolicies(spec.KeySpec.AuthPrincipal): {text: `{"inline":{},"attached":{}}`}}
		}
		if access := judge(use, organizationID, documents(content("trust.json"), content("policy.json")), noon); access.Key.Decision != policy.Allowed || access.Principal.Decision != policy.Allowed {
			t.Errorf("region %s: %+v", spec.Region, access)
		}
		// The judge notices each word that is missing.
		for _, word := range []string{a.cluster.AccountID, organizationID} {
			if access := judge(use, organizationID, documents(strings.ReplaceAll(content("trust.json"), word, "999999999999"), content("policy.json")), noon); access.Principal.Decision == policy.Allowed {
				t.Errorf("a trust policy without %s is allowed", word)
			}
		}
		for _, action := range []string{`"kms:Encrypt",`, `"kms:Decrypt",`, `"kms:GenerateDataKey*",`, `"kms:DescribeKey",`} {
			lacking := strings.Replace(content("policy.json"), action, "", 1)
			if access := judge(use, organizationID, documents(content("trust.json"), lacking), noon); access.Key.Decision != policy.Denied {
				t.Errorf("a key policy without %s is %v", action, access.Key)
			}
		}
	}
	if all := printed(p); !strings.Contains(all, "aws iam create-role --role-name analytics-cmek ") || strings.Count(all, "enable-key-rotation") != 2 {
		t.Errorf("the commands are\n%s", all)
	}
}

func printed(p Provisioning) string {
	var lines []string
	for _, s := range p.Steps {
		lines = append(lines, s.Lines...)
	}
	return strings.Join(lines, "\n")
}

func TestGuideOnGoogle_namesTheClustersOwnAccount(t *testing.T) {
	all := printed(onGCP().guide())
	for _, want := range []string{
		"gcloud iam service-accounts create crdb-analytics --project acme-keys",
		"--role roles/iam.serviceAccountTokenCreator --member serviceAccount:crl-kms-user-000000000006@crl-prod-abc.iam.gserviceaccount.com",
		"--member serviceAccount:crdb-analytics@acme-keys.iam.gserviceaccount.com --role roles/cloudkms.cryptoKeyEncrypterDecrypter",
		"gcloud kms keys create cmek --keyring crdb-analytics --location us-east1 --project acme-keys --purpose encryption",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
}

// A fact that is absent is said with its fix, and nothing else: no step may rest on a guess.
func TestGuide_withoutAFactThereIsNone(t *testing.T) {
	for _, tt := range []struct {
		row    string
		base   func() asked
		change func(*asked)
	}{
		{"cluster-unread", onAWS, func(a *asked) { a.clusterErr = errors.New("502") }},
		{"cluster-not-found", onAWS, func(a *asked) { a.clusterErr = cmek.ErrNotFound }},
		{"cluster-deleted", onAWS, func(a *asked) { a.cluster.State = cmek.StateDeleted }},
		{"plan", onAWS, func(a *asked) { a.cluster.Plan = "STANDARD" }},
		{"plan", onAWS, func(a *asked) { a.cluster.Plan = "" }},
		{"cloud", onAWS, func(a *asked) { a.cluster.CloudProvider = "AZURE" }},
		{"key-cloud", onAWS, func(a *asked) { a.request.Type = cmek.GCPCloudKMS }},
		{"key-cloud", onGCP, func(a *asked) { a.request.Type = cmek.AWSKMS }},
		{"account-id", onAWS, func(a *asked) { a.cluster.AccountID = "" }},
		{"account-id", onAWS, func(a *asked) { a.cluster.AccountID = "crl-prod-abc" }},
		{"account-id", onAWS, func(a *asked) { a.cluster.AccountID = "90000000000" }},
		{"account-id", onGCP, func(a *asked) { a.cluster.AccountID = "900000000006" }},
		{"account", onAWS, func(a *asked) { a.request.Account = "1111222233334" }},
		{"account", onGCP, func(a *asked) { a.request.Account = "Acme" }},
		{"organization", onAWS, func(a *asked) { a.orgErr = errors.New("403") }},
		{"organization", onAWS, func(a *asked) { a.organization = "" }},
		{"organization", onAWS, func(a *asked) { a.organization = `x","y` }},
		{"regions-unread", onAWS, func(a *asked) { a.cluster.Regions = nil }},
		{"region-unknown", onAWS, func(a *asked) { a.cluster.Regions[0].Name = "us east" }},
		{"region-unknown", onAWS, func(a *asked) { a.request.Keys = map[string]cmek.KeyURI{"us-west-9": newKey} }},
		{"key-uri", onAWS, func(a *asked) {
			a.request.Keys = map[string]cmek.KeyURI{east: "arn:aws:kms:us-east-1:111122223333:alias/x"}
		}},
		{"key-cloud", onAWS, func(a *asked) {
			a.request.Keys = map[string]cmek.KeyURI{east: "projects/acme/locations/us-east1/keyRings/r/cryptoKeys/k"}
		}},
		{"name", onAWS, func(a *asked) { a.cluster.Name = "Analytics" }},
		{"name", onAWS, func(a *asked) { a.request.Name = "a-name-that-is-too-long" }},
		{"name", onAWS, func(a *asked) { a.request.Name = "ends-in-" }},
	} {
		a := tt.base()
		tt.change(&a)
		p := a.guide()
		if !slices.ContainsFunc(p.Refusals, func(r Refusal) bool { return r.Row == tt.row }) || len(p.Steps)+len(p.Files) > 0 {
			t.Errorf("%s: refused %v, with %d steps", tt.row, p.Refusals, len(p.Steps))
		}
	}
	if p := onGCP().guide(); len(p.Refusals) > 0 {
		t.Errorf("refused %v", p.Refusals)
	}
	a := onGCP()
	a.orgErr = errors.New("403") // no role asks for it there
	if p := a.guide(); len(p.Refusals) > 0 {
		t.Errorf("refused %v", p.Refusals)
	}
}

func verification(change ...func(*situation)) Provisioning {
	s := enabling()
	for _, c := range change {
		c(s)
	}
	return verify(ProvisionRequest{Type: cmek.AWSKMS}, decision{Request: s.request, Facts: s.facts}, organizationID, nil)
}

// A cluster may be named as YAML writes a truth, or nothing.
func TestKeyturnYAML_namesAreTexts(t *testing.T) {
	for _, name := range []string{"null", "true", "off", "yes", "orders"} {
		var p Provisioning
		p.Cluster.Regions = []string{east}
		if text := p.keyturnYAML(ProvisionRequest{Name: name, Account: "111122223333"}); !strings.Contains(text, "- name: \""+name+"\"\n") {
			t.Errorf("the name %s is not a text in\n%s", name, text)
		}
	}
}

// Everything that enable refuses because of keys and access is missing here too; and nothing but a full judgement is complete.
func TestVerify_judgesAsEnableDoes(t *testing.T) {
	if v := verification(); !v.Complete() {
		t.Fatalf("all is there: %+v", v)
	}
	access := func(key, principal policy.Verdict) func(*situation) {
		return func(s *situation) {
			s.facts.Access[spec(east, newKey).KeySpec] = Access{Key: key, Principal: principal}
		}
	}
	yes, no := policy.Verdict{Decision: policy.Allowed}, policy.Verdict{Decision: policy.Denied, Why: "role may not call kms:Decrypt"}
	key := func(change func(*KeyFact)) func(*situation) {
		return func(s *situation) { f := usable(newKey); change(&f); s.facts.Keys[newKey] = f }
	}
	for name, tt := range map[string]struct {
		change func(*situation)
		says   string
		file   bool
	}{
		"key policy": {access(no, yes), "kms:Decrypt", true},
		"trust":      {access(yes, no), "kms:Decrypt", true},
		"no role":    {func(s *situation) { s.facts.Access[spec(east, newKey).KeySpec] = noPrincipal() }, "the role " + string(role) + " does not exist", true},
		"two partitions": {withSpec(func(r *cmek.RegionSpec) {
			r.KeySpec.URI = "arn:aws-us-gov:kms:us-east-1:111122223333:key/bbbbbbbb-1111-2222-3333-444444444444"
		}), "two partitions of AWS", false},
		"policies unread": {access(policy.Verdict{}, yes), "was not read", true},
		"disabled":        {key(func(f *KeyFact) { f.Key.State = cmek.KeyDisabled }), "the key is disabled", false},
		"gone":            {key(func(f *KeyFact) { f.Key.State = cmek.KeyNotFound }), "the key is not found", false},
		"unread":          {key(func(f *KeyFact) { f.Err = errors.New("timeout") }), "timeout", false},
		"denied":          {key(func(f *KeyFact) { f.Err = cmek.ErrDenied }), "could not be read", false},
		"asymmetric":      {key(func(f *KeyFact) { f.Key.Version = cmek.KeyVersion{} }), "is none for symmetric encryption", false},
		"alias":           {func(s *situation) { s.request.Specs[0].KeySpec.URI = "arn:aws:kms:us-east-1:111122223333:alias/x" }, "is an alias", false},
		"other cloud":     {func(s *situation) { s.request.Specs[0].KeySpec.Type = cmek.GCPCloudKMS }, "has the type", false},
		"user":            {func(s *situation) { s.request.Specs[0].KeySpec.AuthPrincipal = "arn:aws:iam::111122223333:user/x" }, "auth_principal", false},
		"another Region":  {onKey(farKey), "is in us-west-2 and the cluster's region is us-east-1", false},
		"another Region, and not admitted": {func(s *situation) {
			onKey(farKey)(s)
			s.facts.Access[spec(east, farKey).KeySpec] = Access{Key: no, Principal: yes}
		}, "kms:Decrypt", true},
		"region missing":     {func(s *situation) { s.facts.Cluster.Regions = append(s.facts.Cluster.Regions, cmek.Region{Name: west}) }, "us-west-2 has no key", false},
		"region not shown":   {func(s *situation) { s.facts.Cluster.Regions = nil }, "no region", false},
		"unknown region":     {func(s *situation) { s.request.Specs[0].Region = west }, `has no region "us-west-2"`, false},
		"nothing was judged": {func(s *situation) { s.request.Specs = nil }, "no key is named", false},
		"not advanced":       {func(s *situation) { s.facts.Cluster.Plan = "BASIC" }, "plan", false},
		"wrong cloud":        {func(s *situation) { s.facts.Cluster.CloudProvider = "GCP" }, "is on GCP", false},
		"cluster unread":     {func(s *situation) { s.facts.ClusterErr = errors.New("502") }, "502", false},
	} {
		v := verification(tt.change)
		text, _ := json.Marshal([]any{v.Findings, v.Refusals})
		var said string
		for _, f := range v.Findings {
			said += f.What + "\n"
		}
		for _, r := range v.Refusals {
			said += r.What + "\n"
		}
		if v.Complete() || !strings.Contains(said, tt.says) || len(v.Files) > 0 != tt.file {
			t.Errorf("%s: complete %v, files %v, want %q in %s", name, v.Complete(), v.Files, tt.says, text)
		}
	}
	// Its own CMEK that was not read is not called none.
	s := enabling()
	s.request.Specs = nil
	for says, unread := range map[string]error{"503 Service Unavailable": errors.New("503 Service Unavailable"), "has no CMEK": nil} {
		v := verify(ProvisionRequest{Type: cmek.AWSKMS}, decision{Request: s.request, Facts: s.facts}, organizationID, unread)
		if len(v.Refusals) != 1 || !strings.Contains(v.Refusals[0].What, says) || unread != nil && strings.Contains(v.Refusals[0].What, "no CMEK") {
			t.Errorf("unread %v: %+v", unread, v.Refusals)
		}
	}
	// A cluster that is busy, opted out or enabled already is judged all the same: nothing is sent.
	if v := verification(enabled, func(s *situation) {
		s.facts.Cluster.State = cmek.StateLocked
		s.facts.Cluster.Labels = map[string]string{"keyturn": "off"}
	}); !v.Complete() {
		t.Errorf("a busy cluster: %+v", v)
	}
}

// What Vault made must stay: imported, without an expiry, and behind its alias. What is not shown is never good.
func TestVaultKeys_areJudged(t *testing.T) {
	good := func() vaultFacts {
		var f vaultFacts
		f.described, f.alias, f.target = true, "arn:aws:kms:us-east-1:111122223333:alias/hashicorp/analytics-us-east-1-1764000000", newKey
		f.details.Description = cmek.KeyDescription{Key: usable(newKey).Key, Origin: "EXTERNAL", ExpirationModel: "KEY_MATERIAL_DOES_NOT_EXPIRE"}
		return f
	}
	ready := func(f vaultFacts) bool { return Diagnosis{Findings: judgeVault(spec(east, newKey), f, noon)}.Ready() }
	if !ready(good()) {
		t.Errorf("a good key: %+v", judgeVault(spec(east, newKey), good(), noon))
	}
	for name, change := range map[string]func(*vaultFacts){
		"origin AWS":           func(f *vaultFacts) { f.details.Description.Origin = "AWS_KMS" },
		"origin not shown":     func(f *vaultFacts) { f.details.Description.Origin = "" },
		"not described":        func(f *vaultFacts) { *f = vaultFacts{alias: f.alias, target: f.target} },
		"unread":               func(f *vaultFacts) { f.details = cmek.KeyDetails{DescriptionErr: cmek.ErrDenied} },
		"expires":              func(f *vaultFacts) { f.details.Description.ValidTo = noon.Add(time.Hour) },
		"expired":              func(f *vaultFacts) { f.details.Description.ValidTo = noon },
		"expiry not shown":     func(f *vaultFacts) { f.details.Description.ExpirationModel = "" },
		"expires, date hidden": func(f *vaultFacts) { f.details.Description.ExpirationModel = "KEY_MATERIAL_EXPIRES" },
		"no alias":             func(f *vaultFacts) { f.alias = "" },
		"alias moved":          func(f *vaultFacts) { f.target = oldKey },
		"alias unread":         func(f *vaultFacts) { f.aliasErr = cmek.ErrNotFound },
		"alias of another":     func(f *vaultFacts) { f.alias = "arn:aws:kms:us-east-1:111122223333:alias/keyturn-analytics" },
	} {
		f := good()
		change(&f)
		if ready(f) {
			t.Errorf("%s is ready: %+v", name, judgeVault(spec(east, newKey), f, noon))
		}
	}
}
