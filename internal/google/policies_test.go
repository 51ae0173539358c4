package google_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/google"
	"github.com/keyturn/keyturn/internal/policy"
	policies "github.com/keyturn/keyturn/internal/policy/google"
)

const (
	testAccount = "cmek@p.iam.gserviceaccount.com"
	testRing    = "projects/p/locations/us-east1/keyRings/r"
	usesKeys    = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
)

// fakeIAM answers GET and POST requests by their escaped path, and what it does not know as the APIs do.
type fakeIAM struct {
	answers map[string]string

	mu     sync.Mutex // each request is served in a goroutine of its own
	calls  []string
	bodies []string
}

func (f *fakeIAM) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	call := r.Method + " " + r.URL.EscapedPath()
	if r.URL.RawQuery != "" {
		call += "?" + r.URL.RawQuery
	}
	body := make([]byte, 1000)
	n, _ := r.Body.Read(body)
	f.mu.Lock()
	f.calls, f.bodies = append(f.calls, call), append(f.bodies, string(body[:n]))
	f.mu.Unlock()
	answer, ok := f.answers[call]
	if !ok {
		answer = notFound
	}
	var refusal struct{ Error struct{ Code int } }
	if json.Unmarshal([]byte(answer), &refusal) == nil && refusal.Error.Code != 0 {
		w.WriteHeader(refusal.Error.Code)
	}
	fmt.Fprint(w, answer)
}

const (
	notFound     = `{"error":{"code":404,"message":"not found","status":"NOT_FOUND"}}`
	denied       = `{"error":{"code":403,"message":"permission denied","status":"PERMISSION_DENIED"}}`
	nothing      = `{"etag":"ACAB"}`
	keyPolicy    = "GET /v1/" + string(testKey) + ":getIamPolicy?options.requestedPolicyVersion=3"
	ringPolicy   = "GET /v1/" + testRing + ":getIamPolicy?options.requestedPolicyVersion=3"
	accountURL   = "/v1/projects/p/serviceAccounts/" + testAccount
	ancestry     = "POST /v1/projects/p:getAncestry"
	denyPrefix   = "GET /v2/policies/cloudresourcemanager.googleapis.com%2F"
	projectDeny  = denyPrefix + "projects%2Fp/denypolicies"
	folderDeny   = denyPrefix + "folders%2F12/denypolicies"
	organizeDeny = denyPrefix + "organizations%2F34/denypolicies"

	searches      = "/locations/global/policyBindings:searchTargetPolicyBindings?target=%2F%2Fcloudresourcemanager.googleapis.com%2F"
	projectBound  = "GET /v3/projects/p" + searches + "projects%2Fp"
	folderBound   = "GET /v3/folders/12" + searches + "folders%2F12"
	organizeBound = "GET /v3/organizations/34" + searches + "organizations%2F34"
)

func bound(role string, members ...string) string {
	text, _ := json.Marshal(map[string]any{"version": 3, "etag": "BwX=", "bindings": []any{map[string]any{"role": role, "members": members}}})
	return string(text)
}

// boundaryOf is the name of a principal access boundary policy, bindingOf a binding of it, and boundaryText the policy.
func boundaryOf(id string) string {
	return "organizations/34/locations/global/principalAccessBoundaryPolicies/" + id
}

func bindingOf(id string) string {
	return `{"name":"x","policy":"` + boundaryOf(id) + `","policyKind":"PRINCIPAL_ACCESS_BOUNDARY"}`
}

func boundaryText(id, resource string) string {
	return `{"name":"` + boundaryOf(id) + `","details":{"rules":[{"resources":["//cloudresourcemanager.googleapis.com/` + resource + `"],"effect":"ALLOW"}],"enforcementVersion":"4"}}`
}

// nextPage is a call with the token "next"; parameters of calls come in their order.
func nextPage(call string) string {
	return strings.Replace(call, "?target=", "?pageToken=next&target=", 1)
}

// newFakeIAM is an organization with a folder, in which is the project of the key, with no policy anywhere.
func newFakeIAM(more map[string]string) *fakeIAM {
	f := &fakeIAM{answers: map[string]string{
		keyPolicy: nothing, ringPolicy: nothing,
		"POST " + accountURL + ":getIamPolicy?options.requestedPolicyVersion=3": nothing,
		"GET " + accountURL:                `{"name":"projects/p/serviceAccounts/` + testAccount + `","projectId":"p","uniqueId":"1001","email":"` + testAccount + `"}`,
		"POST /v3/projects/p:getIamPolicy": nothing, "POST /v3/folders/12:getIamPolicy": nothing, "POST /v3/organizations/34:getIamPolicy": nothing,
		ancestry:    `{"ancestor":[{"resourceId":{"type":"project","id":"p"}},{"resourceId":{"type":"folder","id":"12"}},{"resourceId":{"type":"organization","id":"34"}}]}`,
		projectDeny: `{}`, folderDeny: `{}`, organizeDeny: `{}`, projectBound: `{}`, folderBound: `{}`, organizeBound: `{}`,
	}}
	for call, answer := range more {
		f.answers[call] = answer
	}
	return f
}

func (f *fakeIAM) reader() *google.Policies {
	return google.NewPolicies(google.Config{HTTP: &http.Client{Timeout: 10 * time.Second, Transport: inProcess{f}}, Endpoint: "http://iam.test/"})
}

var testUse = cmek.Use{ClusterID: "00000000-0000-0000-0000-0000000000a1", CloudAccount: "crl-prod-abc",
	Spec: cmek.KeySpec{Type: cmek.GCPCloudKMS, URI: testKey, AuthPrincipal: testAccount}}

// mayUse reads everything for the question whether the account may use the key.
func (f *fakeIAM) mayUse(ctx context.Context) (policies.Access, []cmektest.Unread) {
	texts, unread := cmektest.ReadPolicies(ctx, f.reader(), testUse)
	docs, _ := policies.ReadAll(texts)
	return policies.KeyAccess(docs, testKey, policies.ServiceAccount{Email: testAccount, UniqueID: "1001"}, made), unread
}

func TestPoliciesConform(t *testing.T) {
	cmektest.PoliciesConform(t, func(_ *testing.T, condition cmektest.PolicyCondition) cmektest.ArrangedPolicies {
		use, more := testUse, map[string]string{}
		switch condition {
		case cmektest.PrincipalMissing:
			more["GET "+accountURL] = notFound
		case cmektest.KeyPolicyDenied:
			more[keyPolicy] = denied
		case cmektest.PoliciesGarbled:
			for call := range newFakeIAM(nil).answers {
				more[call] = "<html>hello</html>"
			}
		case cmektest.PoliciesOfAnother:
			use.Spec = cmek.KeySpec{Type: cmek.AWSKMS, URI: "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab", AuthPrincipal: "arn:aws:iam::111122223333:role/cmek"}
		}
		return cmektest.ArrangedPolicies{Policies: newFakeIAM(more).reader(), Use: use, KeyPolicy: string(testKey), Principal: policies.State(testAccount)}
	})
}

func TestDocuments_readUntilTheAnswerIsCertain(t *testing.T) {
	const member = "serviceAccount:" + testAccount
	denyAll := `{"name":"policies/cloudresourcemanager.googleapis.com%2Ffolders%2F12/denypolicies/stop","rules":[{"denyRule":{"deniedPrincipals":["principalSet://goog/public:all"],"deniedPermissions":["cloudkms.googleapis.com/cryptoKeyVersions.useToDecrypt"]}}]}`
	for _, row := range []struct {
		name string
		more map[string]string
		want policy.Decision
	}{
		{"nobody has a role", nil, policy.Denied},
		{"on the key", map[string]string{keyPolicy: bound(usesKeys, member)}, policy.Allowed},
		{"on the ring", map[string]string{ringPolicy: bound(usesKeys, member)}, policy.Allowed},
		{"on the project", map[string]string{"POST /v3/projects/p:getIamPolicy": bound(usesKeys, member)}, policy.Allowed},
		{"on the folder", map[string]string{"POST /v3/folders/12:getIamPolicy": bound(usesKeys, member)}, policy.Allowed},
		{"on the organization", map[string]string{"POST /v3/organizations/34:getIamPolicy": bound(usesKeys, member)}, policy.Allowed},
		{"somebody else on the key", map[string]string{keyPolicy: bound(usesKeys, "serviceAccount:other@p.iam.gserviceaccount.com")}, policy.Denied},
		{"by a custom role", map[string]string{
			keyPolicy:                       bound("projects/p/roles/wrap", member),
			"GET /v1/projects/p/roles/wrap": `{"name":"projects/p/roles/wrap","includedPermissions":["cloudkms.cryptoKeyVersions.useToEncrypt","cloudkms.cryptoKeyVersions.useToDecrypt"],"stage":"GA"}`,
		}, policy.Allowed},
		{"by a custom role that is disabled", map[string]string{
			keyPolicy:                             bound("organizations/34/roles/wrap", member),
			"GET /v1/organizations/34/roles/wrap": `{"name":"organizations/34/roles/wrap","includedPermissions":["cloudkms.cryptoKeyVersions.useToEncrypt","cloudkms.cryptoKeyVersions.useToDecrypt"],"stage":"DISABLED"}`,
		}, policy.Denied},
		{"on the key, and a folder denies it on its second page", map[string]string{
			keyPolicy:                      bound(usesKeys, member),
			folderDeny:                     `{"policies":[],"nextPageToken":"next"}`,
			folderDeny + "?pageToken=next": `{"policies":[{"name":"policies/cloudresourcemanager.googleapis.com%2Ffolders%2F12/denypolicies/stop"}]}`,
			folderDeny + "/stop":           denyAll,
		}, policy.Denied},
		{"on the key, and the organization binds its principals to others on the second page", map[string]string{
			keyPolicy:                         bound(usesKeys, member),
			organizeBound:                     `{"policyBindings":[],"nextPageToken":"next"}`,
			nextPage(organizeBound):           `{"policyBindings":[` + bindingOf("others") + `]}`,
			"GET /v3/" + boundaryOf("others"): boundaryText("others", "organizations/35"),
		}, policy.Denied},
		{"on the key, and the project binds its principals to the key's folder", map[string]string{
			keyPolicy:                      bound(usesKeys, member),
			projectBound:                   `{"policyBindings":[` + bindingOf("own") + `,{"name":"x","policy":"projects/p/locations/global/accessPolicies/a","policyKind":"ACCESS"}]}`,
			"GET /v3/" + boundaryOf("own"): boundaryText("own", "folders/12"),
		}, policy.Allowed},
	} {
		f := newFakeIAM(row.more)
		access, unread := f.mayUse(t.Context())
		if access.Decision() != row.want || len(unread) > 0 {
			t.Errorf("%s: the answer is %v (%q), unread %v; want %v", row.name, access.Decision(), access.Sentences(), unread, row.want)
		}
		if repeated := len(f.calls) - len(slices.Compact(slices.Sorted(slices.Values(f.calls)))); repeated > 0 {
			t.Errorf("%s: %d calls are repeated: %q", row.name, repeated, f.calls)
		}
		for i, call := range f.calls {
			if strings.HasPrefix(call, "POST /v3/") && !strings.Contains(f.bodies[i], `"requestedPolicyVersion":3`) {
				t.Errorf("%s: %s asks for %s, which leaves conditions out", row.name, call, f.bodies[i])
			}
		}
	}
}

func TestDocuments_thatCannotBeRead(t *testing.T) {
	const member = "serviceAccount:" + testAccount
	for _, row := range []struct {
		name string
		more map[string]string
		is   error
		says []string // all of what is unread
	}{
		{"a ring that we may not read", map[string]string{ringPolicy: denied}, cmek.ErrDenied, []string{"the policy of key ring r (cloudkms.keyRings.getIamPolicy): "}},
		{"an organization that we may not read", map[string]string{"POST /v3/organizations/34:getIamPolicy": denied, organizeDeny: denied}, cmek.ErrDenied,
			[]string{"the policy of organization 34 (resourcemanager.organizations.getIamPolicy): ", "the deny policies of organization 34 ("}},
		{"ancestors that we may not read", map[string]string{ancestry: denied}, cmek.ErrDenied, []string{"the folders and the organization of project p ("}},
		{"a key that is gone", map[string]string{keyPolicy: notFound}, cmek.ErrNotFound, []string{"the policy of key k ("}},
		{"a proxy's page for the key", map[string]string{keyPolicy: `<html>hello</html>`}, nil, []string{"the policy of key k ("}},
		{"an empty answer for the key", map[string]string{keyPolicy: `{}`}, nil, []string{"the policy of key k ("}},
		{"a role that nobody made", map[string]string{keyPolicy: bound("projects/p/roles/gone", member)}, cmek.ErrNotFound, []string{"the permissions of role projects/p/roles/gone (iam.roles.get): "}},
		{"a role with a hostile name", map[string]string{keyPolicy: bound("projects/p/roles/../../x?y=z", member)}, nil, []string{"the permissions of role projects/p/roles/../../x?y=z ("}},
		{"a role without permissions", map[string]string{keyPolicy: bound("projects/p/roles/wrap", member), "GET /v1/projects/p/roles/wrap": `{"name":"projects/p/roles/wrap"}`}, nil, []string{"the permissions of role projects/p/roles/wrap ("}},
		{"another role", map[string]string{keyPolicy: bound("projects/p/roles/wrap", member), "GET /v1/projects/p/roles/wrap": `{"name":"projects/p/roles/other","includedPermissions":[]}`}, nil, []string{"the permissions of role projects/p/roles/wrap ("}},
		{"a deny policy that is listed only", map[string]string{keyPolicy: bound(usesKeys, member), projectDeny: `{"policies":[{"name":"policies/x/denypolicies/stop"}]}`}, cmek.ErrNotFound, []string{"the deny policies of project p ("}},
		{"deny policies in disguise", map[string]string{keyPolicy: bound(usesKeys, member), projectDeny: `{"items":[]}`}, nil, []string{"the deny policies of project p ("}},
		{"no deny policies at all", map[string]string{keyPolicy: bound(usesKeys, member), projectDeny: `null`}, nil, []string{"the deny policies of project p ("}},
		{"a deny policy with a hostile name", map[string]string{keyPolicy: bound(usesKeys, member), projectDeny: `{"policies":[{"name":"policies/x/denypolicies/$(rm)"}]}`}, nil, []string{"the deny policies of project p ("}},
		{"another deny policy", map[string]string{
			keyPolicy: bound(usesKeys, member), projectDeny: `{"policies":[{"name":"policies/x/denypolicies/stop"}]}`,
			projectDeny + "/stop": `{"name":"policies/x/denypolicies/other","rules":[]}`,
		}, nil, []string{"the deny policies of project p ("}},
		{"boundaries of the organization that we may not read", map[string]string{keyPolicy: bound(usesKeys, member), organizeBound: denied}, cmek.ErrDenied, []string{"the principal access boundaries of organization 34 ("}},
		{"a boundary that we may not read", map[string]string{keyPolicy: bound(usesKeys, member), projectBound: `{"policyBindings":[` + bindingOf("own") + `]}`, "GET /v3/" + boundaryOf("own"): denied}, cmek.ErrDenied, []string{"the principal access boundaries of project p ("}},
		{"a boundary that is gone", map[string]string{keyPolicy: bound(usesKeys, member), projectBound: `{"policyBindings":[` + bindingOf("own") + `]}`}, cmek.ErrNotFound, []string{"the principal access boundaries of project p ("}},
		{"another boundary", map[string]string{keyPolicy: bound(usesKeys, member), projectBound: `{"policyBindings":[` + bindingOf("own") + `]}`, "GET /v3/" + boundaryOf("own"): boundaryText("other", "projects/p")}, nil, []string{"the principal access boundaries of project p ("}},
		{"a boundary without rules", map[string]string{keyPolicy: bound(usesKeys, member), projectBound: `{"policyBindings":[` + bindingOf("own") + `]}`, "GET /v3/" + boundaryOf("own"): `{"name":"` + boundaryOf("own") + `"}`}, nil, []string{"the principal access boundaries of project p ("}},
		{"a boundary with a hostile name", map[string]string{keyPolicy: bound(usesKeys, member), projectBound: `{"policyBindings":[{"policy":"organizations/34/locations/global/principalAccessBoundaryPolicies/../$(rm)"}]}`}, nil, []string{"the principal access boundaries of project p ("}},
		{"boundaries in disguise", map[string]string{keyPolicy: bound(usesKeys, member), projectBound: `{"items":[]}`}, nil, []string{"the principal access boundaries of project p ("}},
		{"no boundaries at all", map[string]string{keyPolicy: bound(usesKeys, member), projectBound: `null`}, nil, []string{"the principal access boundaries of project p ("}},
	} {
		access, unread := newFakeIAM(row.more).mayUse(t.Context())
		if access.Decision() != policy.CannotTell || len(unread) != len(row.says) {
			t.Errorf("%s: the answer is %v (%q), unread %v", row.name, access.Decision(), access.Sentences(), unread)
			continue
		}
		for i, u := range unread {
			if !strings.HasPrefix(policies.MissingIn(u.Name).String()+": ", row.says[i]) || row.is != nil && !errors.Is(u.Err, row.is) || row.is == nil && (errors.Is(u.Err, cmek.ErrDenied) || errors.Is(u.Err, cmek.ErrNotFound)) {
				t.Errorf("%s: %s is unread (%v), want %q because of %v", row.name, u.Name, u.Err, row.says[i], row.is)
			}
		}
	}
}

func TestDocuments_areBounded(t *testing.T) {
	var bindings []any
	for i := range 300 {
		bindings = append(bindings, map[string]any{"role": fmt.Sprintf("projects/p/roles/r%d", i), "members": []string{"serviceAccount:" + testAccount}})
	}
	text, _ := json.Marshal(map[string]any{"version": 1, "bindings": bindings})
	f := newFakeIAM(map[string]string{keyPolicy: string(text)})
	access, unread := f.mayUse(t.Context())
	if access.Decision() != policy.CannotTell || len(f.calls) > 120 || len(unread) == 0 {
		t.Errorf("%d calls, the answer is %v, %d are unread", len(f.calls), access.Decision(), len(unread))
	}
	endless := newFakeIAM(nil)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		endless.mu.Lock()
		endless.calls = append(endless.calls, r.URL.Path)
		endless.mu.Unlock()
		fmt.Fprint(w, `{"nextPageToken":"again"}`)
	})
	reader := google.NewPolicies(google.Config{HTTP: &http.Client{Transport: inProcess{handler}}, Endpoint: "http://iam.test"})
	for _, name := range []string{policies.Denies("projects/p"), policies.Boundaries("projects/p")} {
		endless.calls = nil
		if got, err := reader.Document(t.Context(), name); err == nil || len(endless.calls) > 1000 {
			t.Errorf("pages of %s without end were read as %v after %d calls", name, got, len(endless.calls))
		}
	}
}

func TestParents_ofAProject(t *testing.T) {
	ancestors := func(list ...string) string {
		var all []string
		for _, one := range list {
			kind, id, _ := strings.Cut(one, " ")
			all = append(all, fmt.Sprintf(`{"resourceId":{"type":%q,"id":%q}}`, kind, id))
		}
		return `{"ancestor":[` + strings.Join(all, ",") + `]}`
	}
	for name, row := range map[string]struct {
		answer string
		want   []string
		fails  bool
	}{
		"no organization":                  {answer: ancestors("project p")},
		"by number":                        {answer: ancestors("project 123456789012", "organization 34"), want: []string{"organizations/34"}},
		"in an organization":               {answer: ancestors("project p", "organization 34"), want: []string{"organizations/34"}},
		"in folders":                       {answer: ancestors("project p", "folder 2", "folder 1", "organization 34"), want: []string{"folders/2", "folders/1", "organizations/34"}},
		"nothing":                          {answer: `{}`, fails: true},
		"no ancestor":                      {answer: `{"ancestor":[]}`, fails: true},
		"a proxy's page":                   {answer: `<html/>`, fails: true},
		"another project":                  {answer: ancestors("project q", "organization 34"), fails: true},
		"without the project":              {answer: ancestors("folder 2", "organization 34"), fails: true},
		"cut after a folder":               {answer: ancestors("project p", "folder 2"), fails: true},
		"something above the organization": {answer: ancestors("project p", "organization 34", "folder 1"), fails: true},
		"a project above":                  {answer: ancestors("project p", "project p", "organization 34"), fails: true},
		"a kind of next year":              {answer: ancestors("project p", "realm 1", "organization 34"), fails: true},
		"a name that none can have":        {answer: ancestors("project p", "organization ../x"), fails: true},
		"a folder without a name":          {answer: ancestors("project p", "folder ", "organization 34"), fails: true},
	} {
		text, err := newFakeIAM(map[string]string{ancestry: row.answer}).reader().Document(t.Context(), "projects/p#parents")
		got, _ := policies.ParseParents(text)
		if (err != nil) != row.fails || !slices.Equal(got, row.want) {
			t.Errorf("%s: parents are %q, error %v; want %q, an error %t", name, got, err, row.want, row.fails)
		}
	}
}

func TestServiceAccount_states(t *testing.T) {
	account := func(more string) string { return `{"email":"` + testAccount + `","uniqueId":"1001"` + more + `}` }
	for name, row := range map[string]struct {
		answer string
		want   policies.ServiceAccount
		is     error
		fails  bool
	}{
		"enabled":            {answer: account(""), want: policies.ServiceAccount{Email: testAccount, UniqueID: "1001"}},
		"disabled":           {answer: account(`,"disabled":true`), want: policies.ServiceAccount{Email: testAccount, UniqueID: "1001", Disabled: true}},
		"deleted":            {answer: notFound, is: cmek.ErrNotFound, fails: true},
		"refused":            {answer: denied, is: cmek.ErrDenied, fails: true},
		"nothing":            {answer: `{}`, fails: true},
		"no unique id":       {answer: `{"email":"` + testAccount + `"}`, is: cmek.ErrIncomplete, fails: true},
		"an odd unique id":   {answer: `{"email":"` + testAccount + `","uniqueId":"x"}`, fails: true},
		"another account":    {answer: `{"email":"other@p.iam.gserviceaccount.com","uniqueId":"1"}`, fails: true},
		"disabled as a text": {answer: account(`,"disabled":"true"`), fails: true},
		"a proxy's page":     {answer: `<html/>`, fails: true},
	} {
		text, err := newFakeIAM(map[string]string{"GET " + accountURL: row.answer}).reader().Document(t.Context(), policies.State(" CMEK@p.iam.gserviceaccount.com"))
		got, _ := policies.ParseServiceAccount(text)
		if (err != nil) != row.fails || got != row.want || row.is != nil && !errors.Is(err, row.is) {
			t.Errorf("%s: account is %+v, error %v; want %+v", name, got, err, row.want)
		}
	}
}

func TestServiceAccount_isAskedForInItsProject(t *testing.T) {
	for email, want := range map[cmek.Principal]string{
		testAccount: "GET " + accountURL,
		"a@proj.example.com.iam.gserviceaccount.com":             "GET /v1/projects/example.com:proj/serviceAccounts/a@proj.example.com.iam.gserviceaccount.com",
		"123456-compute@developer.gserviceaccount.com":           "GET /v1/projects/-/serviceAccounts/123456-compute@developer.gserviceaccount.com",
		"a/../b@p.iam.gserviceaccount.com":                       "",
		"a@p?x=y.iam.gserviceaccount.com":                        "",
		"arn:aws:iam::111122223333:role/cmek":                    "",
		"":                                                       "",
		"projects/p/serviceAccounts/a@p.iam.gserviceaccount.com": "",
	} {
		f := newFakeIAM(nil)
		_, err := f.reader().Document(t.Context(), policies.State(email))
		if got := strings.Join(f.calls, " "); got != want || want == "" && err == nil {
			t.Errorf("%q: calls are %q, error %v; want %q", email, got, err, want)
		}
	}
}

func TestProject_idAndNumber(t *testing.T) {
	const answer = `{"name":"projects/123456789012","parent":"folders/12","projectId":"p","state":"ACTIVE"}`
	for name, row := range map[string]struct {
		ask, answer string
		fails       bool
	}{
		"by id":           {ask: "p", answer: answer},
		"by number":       {ask: "123456789012", answer: answer},
		"another project": {ask: "q", answer: answer, fails: true},
		"another number":  {ask: "123456789013", answer: answer, fails: true},
		"nothing":         {ask: "p", answer: `{}`, fails: true},
		"no number":       {ask: "p", answer: `{"name":"projects/p","projectId":"p"}`, fails: true},
		"no id":           {ask: "123456789012", answer: `{"name":"projects/123456789012"}`, fails: true},
		"refused":         {ask: "p", answer: denied, fails: true},
		"a proxy's page":  {ask: "p", answer: `<html/>`, fails: true},
		"a hostile name":  {ask: "p;x", answer: answer, fails: true},
	} {
		id, number, err := newFakeIAM(map[string]string{"GET /v3/projects/" + row.ask: row.answer}).reader().Project(t.Context(), row.ask)
		if (err != nil) != row.fails || !row.fails && (id != "p" || number != "123456789012") || row.fails && id+number != "" {
			t.Errorf("%s: project is %q, number %q, error %v", name, id, number, err)
		}
	}
}

func TestPoliciesOfOddNamesAreNotAskedFor(t *testing.T) {
	f := newFakeIAM(nil)
	for _, name := range []string{
		"", "projects", "projects/", "projects/p;x", "folders/x", "organizations/", "projects/p/locations/l/keyRings/..", string(testKey) + "/cryptoKeyVersions/1",
		"projects/p/serviceAccounts/a/b@c", "projects/p/topics/t", "//cloudkms.googleapis.com/" + string(testKey),
	} {
		_, policyErr := f.reader().Document(t.Context(), name)
		_, denyErr := f.reader().Document(t.Context(), policies.Denies(name))
		_, parentsErr := f.reader().Document(t.Context(), name+"#parents")
		_, roleErr := f.reader().Document(t.Context(), name+"/roles/")
		if policyErr == nil || denyErr == nil || parentsErr == nil || roleErr == nil || len(f.calls) > 0 {
			t.Errorf("%q: errors %v, %v, %v, %v after the calls %q", name, policyErr, denyErr, parentsErr, roleErr, f.calls)
		}
	}
}

func TestPoliciesAreReadAgainAfterWhatPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, row := range []struct {
			status, failures, want int
			fails                  bool
		}{
			{503, 2, 3, false}, {503, 9, 3, true}, {429, 1, 2, false}, {500, 1, 2, false}, {501, 9, 1, true}, {400, 9, 1, true}, {403, 9, 1, true}, {404, 9, 1, true},
		} {
			calls := 0
			handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if calls++; calls <= row.failures {
					w.WriteHeader(row.status)
					return
				}
				fmt.Fprint(w, nothing)
			})
			reader := google.NewPolicies(google.Config{HTTP: &http.Client{Timeout: 10 * time.Second, Transport: inProcess{handler}}, Endpoint: "http://iam.test"})
			if _, err := reader.Document(t.Context(), "projects/p"); (err != nil) != row.fails || calls != row.want {
				t.Errorf("after %d answers %d there were %d calls, error %v; want %d", row.failures, row.status, calls, err, row.want)
			}
		}
		lost := roundTrip(func(*http.Request) (*http.Response, error) { return nil, errors.New("connection reset") })
		reader := google.NewPolicies(google.Config{HTTP: &http.Client{Timeout: 10 * time.Second, Transport: lost}})
		if _, err := reader.Document(t.Context(), "projects/p"); err == nil || !strings.Contains(err.Error(), "connection reset") {
			t.Errorf("error is %v", err)
		}
		begin := time.Now()
		nobody := google.NewPolicies(google.Config{HTTP: &http.Client{Transport: lost}, Tokens: tokenSource{errors.New("no such account")}})
		if _, err := nobody.Document(t.Context(), "projects/p"); !errors.Is(err, cmek.ErrDenied) || time.Since(begin) > 0 {
			t.Errorf("without a token the error is %v after %s, want ErrDenied at once", err, time.Since(begin))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := reader.Document(ctx, "projects/p"); !errors.Is(err, context.Canceled) {
			t.Errorf("with a canceled context the error is %v", err)
		}
	})
}

func TestAPIsAreCalledAtTheirOwnHosts(t *testing.T) {
	var hosts []string
	transport := roundTrip(func(r *http.Request) (*http.Response, error) {
		hosts = append(hosts, r.URL.Scheme+"://"+r.URL.Host)
		return nil, context.Canceled
	})
	reader := google.NewPolicies(google.Config{HTTP: &http.Client{Transport: transport}})
	_, _ = reader.Document(t.Context(), string(testKey))
	_, _ = reader.Document(t.Context(), "folders/12")
	_, _ = reader.Document(t.Context(), policies.State(testAccount))
	if want := []string{"https://cloudkms.googleapis.com", "https://cloudresourcemanager.googleapis.com", "https://iam.googleapis.com"}; !slices.Equal(hosts, want) {
		t.Errorf("hosts are %q, want %q", hosts, want)
	}
}
