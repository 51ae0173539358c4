package planned

import (
	"regexp"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/policy"
	"github.com/keyturn/keyturn/internal/policy/google"
)

// assumed are the uses that documents admit before the change: where nobody read the clusters, each of them may be one's.
func (b *builder) assumed() (uses []Use) {
	add := func(u Use) {
		if u.Status = cmek.Enabled; !slices.ContainsFunc(uses, func(o Use) bool {
			return o.Spec == u.Spec && o.CloudAccount == u.CloudAccount && o.ClusterID == u.ClusterID
		}) {
			uses = append(uses, u)
		}
	}
	b.assumedAWS(add)
	b.assumedGoogle(add)
	slices.SortFunc(uses, func(a, b Use) int {
		return strings.Compare(string(a.Spec.URI)+" "+string(a.Spec.AuthPrincipal)+" "+a.CloudAccount+a.ClusterID, string(b.Spec.URI)+" "+string(b.Spec.AuthPrincipal)+" "+b.CloudAccount+b.ClusterID)
	})
	return uses
}

func use(key, principal, account string) Use {
	return Use{Use: checks.Use{ClusterName: "any", Region: "any", Spec: spec(key, principal)}, CloudAccount: account}
}

func (b *builder) assumedAWS(add func(Use)) {
	roles := map[string]bool{}
	used := map[string]bool{}
	for name, d := range b.docs {
		if role, ok := strings.CutSuffix(name, ledger.RolePolicies("")); ok || cmek.Principal(name).IsRole() {
			roles[role] = roles[role] || !b.fresh[role] && (d.before != "" && d.before != `{}`)
		}
	}
	admit := func(key, role string) {
		used[role] = true
		for _, account := range b.foreign(role) {
			add(use(key, role, account))
		}
	}
	for name, d := range b.docs {
		uri := cmek.KeyURI(name)
		if uri.Type() != cmek.AWSKMS || cmek.Principal(name).IsRole() || strings.Contains(name, "#") || b.fresh[name] {
			continue
		}
		document, err := policy.Parse(d.before)
		if err != nil {
			continue
		}
		for _, g := range policy.KeyGrants(document, uri) {
			if g.Principal.Kind == policy.Identity && cmek.Principal(g.Principal.ID).IsRole() && slices.Contains(g.Actions, "kms:Decrypt") {
				admit(name, b.spelled(cmek.Principal(g.Principal.ID)))
			}
		}
		for role := range roles {
			if len(b.foreign(role)) == 0 || b.fresh[role] {
				continue
			}
			parsed, err := policy.ParseRole(role, b.before(ledger.RolePolicies(cmek.Principal(role)), `{}`))
			if err == nil && policy.KeyAccess(document, uri, parsed).Decision() == policy.Allowed {
				admit(name, role)
			}
		}
	}
	for role, shown := range roles { // whose keys are outside the plan
		if !shown || used[role] || len(b.foreign(role)) == 0 {
			continue
		}
		for _, key := range b.keysNamed(role) {
			admit(key, role)
		}
	}
}

// before is a document's text before the change.
func (b *builder) before(name, none string) string {
	if d := b.docs[name]; d != nil && d.before != "" {
		return d.before
	}
	if t := b.known.Documents[name]; t != "" {
		return t
	}
	return none
}

// foreign are the other accounts that a role trusts before the change, of which each may be a cluster's; "" if its trust policy is not
// known. A role that trusts no other account is no cluster's.
func (b *builder) foreign(role string) (accounts []string) {
	document, err := policy.Parse(b.before(role, ""))
	if err != nil {
		return []string{""}
	}
	for _, g := range policy.TrustGrants(document) {
		account := g.Principal.Account()
		if g.Principal.Kind == policy.Everybody {
			account = ""
		} else if account == "" || account == cmek.Principal(role).Account() {
			continue
		}
		if !slices.Contains(accounts, account) {
			accounts = append(accounts, account)
		}
	}
	return accounts
}

// keyPattern finds the keys that a policy names.
var keyPattern = regexp.MustCompile(`arn:aws[a-z-]*:kms:[a-z0-9*-]*:[0-9*]*:key/[A-Za-z0-9*-]+`)

// keysNamed are the keys that the policies of a role name before the change, one for each pattern; any key of its account if they name none.
func (b *builder) keysNamed(role string) (keys []string) {
	account := cmek.Principal(role).Account()
	for _, text := range keyPattern.FindAllString(b.before(ledger.RolePolicies(cmek.Principal(role)), ""), -1) {
		parts := strings.SplitN(text, ":", 6)
		if strings.Contains(parts[3], "*") || parts[3] == "" {
			parts[3] = "us-east-1"
		}
		if strings.Contains(parts[4], "*") || parts[4] == "" {
			parts[4] = account
		}
		parts[5] = strings.ReplaceAll(parts[5], "*", "00000000-0000-0000-0000-000000000000")
		if uri, err := cmek.ParseKeyURI(strings.Join(parts, ":")); err == nil {
			keys = append(keys, string(uri))
		}
	}
	if len(keys) == 0 {
		keys = append(keys, "arn:aws:kms:us-east-1:"+account+":key/00000000-0000-0000-0000-000000000000")
	}
	return unique(keys)
}

// organization is the external id that trust policies are judged by: the known one, or the one that the role asks for before the change.
func (j *judging) organization(d *document) string {
	if id := j.b.known.OrganizationID; id != "" {
		return id
	}
	document, err := policy.Parse(j.b.before(d.name, ""))
	if err != nil {
		return ""
	}
	for _, s := range document.Statements {
		for _, c := range s.Conditions {
			if strings.EqualFold(c.Key, "sts:ExternalId") && c.Operator == "StringEquals" && len(c.Values) > 0 && s.Effect == policy.Allow {
				return c.Values[0]
			}
		}
	}
	return ""
}

// cockroach is what the service accounts of Cockroach Labs are named.
var cockroach = regexp.MustCompile(`^serviceAccount:crl-kms-user-(.{12})@(.+)\.iam\.gserviceaccount\.com$`)

func (b *builder) assumedGoogle(add func(Use)) {
	docs := google.Documents{}
	var keys, accounts []string
	for name, d := range b.docs {
		if google.MissingIn(name).Kind != google.MissingPolicy && google.MissingIn(name).Kind != google.MissingRole || strings.HasPrefix(name, "arn:") || d.before == "" {
			continue
		}
		if read, err := docs.Add(name, d.before); err == nil {
			docs = read
		}
		switch {
		case b.fresh[name]:
		case strings.Contains(name, "/cryptoKeys/"):
			keys = append(keys, name)
		case strings.Contains(name, "/keyRings/"):
			keys = append(keys, name+"/cryptoKeys/any")
		case strings.Contains(name, "/serviceAccounts/"):
			_, email, _ := strings.Cut(name, "/serviceAccounts/")
			accounts = append(accounts, email)
		case strings.HasPrefix(name, "projects/") && strings.Count(name, "/") == 1:
			keys = append(keys, name+"/locations/any/keyRings/any/cryptoKeys/any")
		}
	}
	for _, c := range b.of("google_kms_crypto_key") {
		if name := b.names[c.Address]; !b.fresh[name] {
			keys = append(keys, name)
		}
	}
	used := map[string]bool{}
	admit := func(key, email string) {
		used[email] = true
		clusters := b.cockroachOf(email)
		for _, c := range clusters {
			u := use(key, email, c.CloudAccount)
			u.ClusterID = c.ClusterID
			add(u)
		}
		if len(clusters) == 0 {
			add(use(key, email, ""))
		}
	}
	for _, key := range unique(keys) {
		for _, g := range google.KeyGrants(docs, cmek.KeyURI(key), b.known.Now) {
			if email, ok := strings.CutPrefix(g.Member, "serviceAccount:"); ok && slices.Contains(g.Permissions, google.Decrypt) {
				admit(key, email)
			}
		}
	}
	for _, email := range unique(accounts) {
		if !used[email] && len(b.cockroachOf(email)) > 0 {
			admit("projects/"+cmek.Principal(email).Account()+"/locations/any/keyRings/any/cryptoKeys/any", email)
		}
	}
}

// cockroachOf are the clusters whose accounts at Cockroach Labs may act as the service account before the change.
func (b *builder) cockroachOf(email string) (clusters []Use) {
	x, _ := readBindings(b.before(google.ResourceOf(cmek.Principal(email)), ""))
	for _, members := range x {
		for m := range members {
			if found := cockroach.FindStringSubmatch(m); found != nil {
				u := Use{CloudAccount: found[2]}
				u.ClusterID = "00000000-0000-0000-0000-" + found[1]
				clusters = append(clusters, u)
			}
		}
	}
	slices.SortFunc(clusters, func(a, b Use) int { return strings.Compare(a.ClusterID+a.CloudAccount, b.ClusterID+b.CloudAccount) })
	return slices.CompactFunc(clusters, func(a, b Use) bool { return a.ClusterID == b.ClusterID && a.CloudAccount == b.CloudAccount })
}
