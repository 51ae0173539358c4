package risk

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/events"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
)

const (
	key  = cmek.KeyURI("arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab")
	mrk  = cmek.KeyURI("arn:aws:kms:us-east-1:111122223333:key/mrk-1234abcd")
	role = cmek.Principal("arn:aws:iam::111122223333:role/crdb-cmek")

	cryptoKey      = cmek.KeyURI("projects/acme-keys/locations/us-east1/keyRings/crdb/cryptoKeys/payments")
	serviceAccount = "crdb-cmek@acme-keys.iam.gserviceaccount.com"
)

func primary(number string) cmek.KeyVersion { return cmek.KeyVersion{Scheme: cmek.Primary, ID: number} }

// unrated are changes that put no key at risk, and why.
var unrated = map[cmek.Change]string{
	cmek.ChangeKeyCreated:           "nothing uses a new key yet",
	cmek.ChangeKeyDescription:       "nothing reads a description",
	cmek.ChangeReplicasSynchronized: "AWS does it by itself",
}

// root is the folder of the module, wherever the tests run.
func root(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	for ; err == nil; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	t.Fatal("no go.mod above the working directory")
	return ""
}

// declared are the names and values of all changes.
func declared(t *testing.T) map[string]cmek.Change {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root(t), "internal/cmek/event.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]cmek.Change{}
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && strings.HasPrefix(spec.Names[0].Name, "Change") {
			value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			found[spec.Names[0].Name] = cmek.Change(value)
		}
		return true
	})
	if len(found) < 40 {
		t.Fatalf("%d changes are declared", len(found))
	}
	return found
}

// tables are the notices that each cloud sends.
var tables = map[string][]events.Row{"aws": events.AWS(), "gcp": events.Google()}

// sources begin the sources of the events of each cloud.
var sources = map[string]string{"aws": "aws.x/y/", "gcp": "cloudkms.googleapis.com/activity/"}

// derived are the changes that no event is of by itself.
var derived = []cmek.Change{cmek.ChangePrimarySetBack}

// spoken are the changes of which a cloud has words, in the order of the catalog.
func spoken(cloud string) []cmek.Change {
	return slices.DeleteFunc(Changes(), func(change cmek.Change) bool {
		_, ok := clouds[cloud].changes[change]
		return !ok
	})
}

func TestEveryChangeHasARowOrAReason(t *testing.T) {
	for name, change := range declared(t) {
		_, rated := Of(change)
		if _, reason := unrated[change]; rated == reason {
			t.Errorf("cmek.%s (%q) has a row in catalog.go: %t; a reason for none in the test: %t; want one of them", name, change, rated, reason)
		}
	}
	seen := map[cmek.Change]bool{}
	for _, row := range catalog {
		if seen[row.Change] {
			t.Errorf("%q has two rows in catalog.go", row.Change)
		}
		seen[row.Change] = true
	}
	if !slices.Equal(Changes()[:2], []cmek.Change{cmek.ChangeDeletionScheduled, cmek.ChangeKeyDisabled}) || len(Changes()) != len(catalog) {
		t.Errorf("the changes are %q, want those of the catalog in its order", Changes())
	}
}

func TestEveryRowIsComplete(t *testing.T) {
	kinds := []Kind{State, Restored, Scheduled, Canceled, KeyPolicy, Trust, Permissions, Boundary, Managed, Inherited, PrincipalDeleted, Recreated, Failed, Tags, Use, Assumed, Refused, Watch, Other}
	scopes := []Scope{ScopeKey, ScopeVersion, ScopePrincipal, ScopeAccount, ScopeAll}
	for _, row := range catalog {
		for field, ok := range map[string]bool{
			"Entry": regexp.MustCompile(`^RK-\d\d$`).MatchString(row.Entry), "Severity": row.Severity.Known() && row.Severity != alert.None,
			"Kind": slices.Contains(kinds, row.Kind), "Scope": slices.Contains(scopes, row.Scope),
			"Incident": row.Incident != "" || !row.Recovery && row.Kind != State && row.Kind != Scheduled && row.Kind != Canceled && row.Kind != Restored,
		} {
			if !ok {
				t.Errorf("the row of %q in catalog.go has no valid %s: %+v", row.Change, field, row)
			}
		}
	}
}

func TestEveryCloudHasWordsForItsChanges(t *testing.T) {
	said := map[cmek.Change]bool{}
	for cloud, table := range tables {
		of := clouds[cloud].changes
		changes := map[cmek.Change]bool{}
		for _, notice := range table {
			for _, change := range []cmek.Change{notice.Change, notice.Failed} {
				if _, rated := Of(change); rated {
					changes[change] = true
				}
			}
		}
		for change := range changes {
			if _, ok := of[change]; !ok {
				t.Errorf("%s.go has no words for %q, which events of that cloud tell", cloud, change)
			}
		}
		for change, w := range of {
			said[change] = true
			if !changes[change] && !slices.Contains(derived, change) {
				t.Errorf("%s.go has words for %q, which no event of that cloud tells", cloud, change)
			}
			row, rated := Of(change)
			if !rated {
				t.Errorf("%s.go has words for %q, which has no row in catalog.go", cloud, change)
			}
			if w.subject == nil || w.happened == nil || w.impact == nil || w.steps == nil || w.attempt == "" {
				t.Errorf("the words of %q in %s.go lack one of subject, happened, attempt, impact, steps: %+v", change, cloud, w)
				continue
			}
			for name, c := range map[string]Case{"empty": {Event: cmek.Event{Source: sources[cloud] + "x"}}, "full": full(cloud, change)} {
				c.Event.Change = change
				for field, text := range map[string]string{
					"subject": row.Subject(c), "happened": row.Happened(c), "attempt": w.attempt, "impact": row.Impact(c), "steps": strings.Join(row.Steps(c), "\n"),
				} {
					if strings.TrimSpace(text) == "" || strings.Contains(text, "%!") || strings.Contains(text, "  ") {
						t.Errorf("%s.go, %q, %s case: %s reads %q", cloud, change, name, field, text)
					}
				}
			}
			if strings.Count(w.attempt, "%s") != 1 {
				t.Errorf("%s.go, %q: attempt is %q, want one %%s", cloud, change, w.attempt)
			}
		}
	}
	for _, row := range catalog {
		if !said[row.Change] {
			t.Errorf("%q has a row in catalog.go, and no cloud has words for it", row.Change)
		}
	}
}

// parameters are the words that steps and texts use.
var parameters = []string{"policy_arn", "policy_name", "version_id", "grant_id", "grantee", "operations", "alias", "key_material_id", "valid_to", "replica_region", "primary_region",
	"custom_key_store_id", "policy_id", "policy_type", "target", "source_parent", "destination_parent", "trail", "rule", "event_bus", "region_name",
	"alarm", "topic", "subscription", "schedule", "function", "secret", "queue", "table", "rotation_period_days", "schedule_group",
	"key_ring", "role", "api", "billing_account", "sink", "exclusion", "feed", "unique_id", "reasons", "justifications", "secret_version", "snooze", "access_policy", "perimeter", "resource", "binding"}

// full is a case in which everything is known.
func full(cloud string, change cmek.Change) Case {
	e := cmek.Event{ID: "e-1", Source: sources[cloud] + "z", Change: change, Key: mrk, Identity: role, Issuer: role, Account: "111122223333", Region: "us-east-1",
		Principal: "arn:aws:iam::111122223333:user/ana", Time: time.Unix(0, 0), Parameters: map[string]string{}}
	for _, word := range parameters {
		e.Parameters[word] = "some-" + strings.ReplaceAll(word, "_", "-")
	}
	if cloud == "gcp" {
		e.Key, e.On, e.Identity, e.Issuer, e.Account, e.Region, e.Principal = cryptoKey, primary("3"), serviceAccount, "", "acme-keys", "us-east1", "ana@acme.example"
		e.Parameters["resource"], e.Parameters["rotation_period_days"] = "projects/acme-keys", "90"
		if change == cmek.ChangeAccessBoundary {
			e.Parameters["resource"] = "organizations/42"
			e.Parameters["policy_name"] = "organizations/42/locations/global/principalAccessBoundaryPolicies/own"
		}
		e.Delta = `{"bindingDeltas":[{"action":"REMOVE","role":"roles/cloudkms.cryptoKeyEncrypterDecrypter","member":"serviceAccount:` + serviceAccount + `"}]}`
		return Case{Event: e, Own: true, InUse: true, Keys: []cmek.KeyURI{cryptoKey}, Effect: &Effect{}, Wraps: []cmek.KeyVersion{primary("4")}, WrapsKnown: true}
	}
	return Case{Event: e, Own: true, InUse: true, Keys: []cmek.KeyURI{key}, Effect: &Effect{Previous: `{"Version":"2012-10-17"}`}}
}

// calls are the operations by which the change happens, besides one that nobody knows.
func calls(cloud string, change cmek.Change) []string {
	var names []string
	if change == cmek.ChangeAccountDetached {
		names = []string{"RemoveAccountFromOrganization", "AccountDepartedOrganization"}
	}
	for _, row := range tables[cloud] {
		if row.Change == change || row.Failed == change {
			names = append(names, row.Name)
		}
	}
	return append(names, "SomethingNew")
}

// samples are the decoded events of every sample of the decoder.
func samples(t *testing.T) map[string]cmek.Event {
	t.Helper()
	var files []string
	for _, pattern := range []string{"*.json", "google/*.json"} {
		matching, err := filepath.Glob(filepath.Join(root(t), "events/testdata", pattern))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, matching...)
	}
	found := map[string]cmek.Event{}
	for _, file := range files {
		payload, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if decoded, err := events.Decode(payload); err == nil && len(decoded) == 1 {
			found[filepath.Base(file)] = decoded[0]
		}
	}
	if len(found) < 100 {
		t.Fatalf("%d samples were decoded", len(found))
	}
	return found
}

// Two packages agree on the words of parameters: what a row reads some event must carry.
func TestEveryParameterThatARowReadsIsDecoded(t *testing.T) {
	carried := map[string]bool{}
	for _, e := range samples(t) {
		for word := range e.Parameters {
			carried[word] = true
		}
	}
	for _, file := range []string{"risk.go", "catalog.go", "words.go", "aws.go", "gcp.go", "gcp_steps.go"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, read := range regexp.MustCompile(`Parameters\["(\w+)"\]`).FindAllStringSubmatch(string(text), -1) {
			if !carried[read[1]] {
				t.Errorf("%s reads the parameter %q, which no sample of package events carries", file, read[1])
			}
		}
	}
}

// hostile are names that a caller may choose.
var hostile = []string{"plain-name", "with blank", "it's", `"quoted"`, "$(touch pwned)", "`touch pwned`", "a;touch pwned", "a&&b", "-x", "--role-name", "=ls", "~root", "*", "!", "#x", `back\slash`,
	"ünï", "{a,b}", "a|b>c<d", "%s", "''", "$HOME", "file:///etc/passwd", "https://example.com/x", "new\nline", "\x1b[2J", "\u202e"}

// TestSteps_survivesHostileNames splits the commands as a shell does: every name is one word, the very one or a word in capitals
// that stands for it.
func TestSteps_survivesHostileNames(t *testing.T) {
	var script strings.Builder
	type command struct{ what, step, name string }
	var commands []command
	for cloud := range clouds {
		for _, change := range spoken(cloud) {
			row, _ := Of(change)
			for _, name := range hostile {
				for _, operation := range calls(cloud, change) {
					c := full(cloud, change)
					c.Event.Source = sources[cloud] + operation
					c.Event.Identity, c.Event.Issuer = cmek.Principal(name), cmek.Principal(name)
					c.Effect.Previous = `{"Sid":` + strconv.QuoteToASCII(name) + `}`
					if cloud == "gcp" {
						c.Event.Account, c.Event.Region, c.Event.Key = name, name, cmek.KeyURI(name)
						c.Event.Delta = `{"bindingDeltas":[{"action":"REMOVE","role":` + strconv.QuoteToASCII(name) + `,"member":` + strconv.QuoteToASCII(name) + `}]}`
					}
					for _, word := range parameters {
						c.Event.Parameters[word] = name
					}
					for _, failure := range []cmek.Failure{"", cmek.FailureUnfit} {
						c.Event.Failure = failure
						for _, step := range row.Steps(c) {
							if isCommand(step) {
								commands = append(commands, command{fmt.Sprintf("%s by %s of %q", change, operation, name), step, name})
							}
						}
					}
				}
			}
		}
	}
	for sample, e := range samples(t) {
		row, _ := Of(e.Change)
		for _, step := range row.Steps(Case{Event: e}) {
			if isCommand(step) {
				commands = append(commands, command{sample, step, "plain-name"})
			}
		}
	}
	slices.SortFunc(commands, func(a, b command) int { return strings.Compare(a.step+a.name, b.step+b.name) })
	commands = slices.CompactFunc(commands, func(a, b command) bool { return a.step == b.step && a.name == b.name })
	for i, c := range commands {
		step := c.step
		for _, file := range []string{previousPolicy, previousRole, keyPolicyFile} {
			step = strings.TrimSuffix(step, " > "+file)
		}
		fmt.Fprintf(&script, "printf '%%s\\0' %s; printf 'end %d\\0'\n", step, i)
	}
	sh := exec.CommandContext(t.Context(), "sh")
	sh.Dir, sh.Stdin = t.TempDir(), strings.NewReader(script.String())
	out, err := sh.CombinedOutput()
	if err != nil {
		t.Fatalf("the shell: %v: %.300s", err, out)
	}
	if left, _ := os.ReadDir(sh.Dir); len(left) > 0 {
		t.Fatalf("a step made the file %s", left[0].Name())
	}
	words, i := []string{}, 0
	for word := range strings.SplitSeq(string(out), "\x00") {
		if word != fmt.Sprintf("end %d", i) {
			words = append(words, word)
			continue
		}
		checkWords(t, commands[i].what, commands[i].step, commands[i].name, words)
		words = words[:0]
		i++
	}
	if i != len(commands) || i < 1000 {
		t.Errorf("%d of %d commands were split", i, len(commands))
	}
}

// checkWords: each word is part of the fixed text, a known id, a word in capitals, or the name.
func checkWords(t *testing.T, what, step, name string, words []string) {
	t.Helper()
	flag := false
	for _, word := range words {
		value, isFlag := strings.CutPrefix(word, "--")
		switch name0, joined, ok := strings.Cut(value, "="); {
		case isFlag && !flag && ok:
			if joined != name || !regexp.MustCompile("^[a-z-]+$").MatchString(name0) {
				t.Errorf("%s: flag %q in %s", what, word, step)
			}
			continue
		case isFlag && !flag:
			flag = true
			continue
		}
		flag = false
		fixed := regexp.MustCompile(`^[A-Za-z0-9_./:,=@\\%{}"-]+$`).MatchString(word) || strings.HasPrefix(word, `{"Sid":`)
		if word != name && !fixed && word != "Id="+name+",Type=ACCOUNT" && !strings.HasSuffix(word, name) && !strings.HasPrefix(word, "arn:aws:kms:"+name+":") {
			t.Errorf("%s: the word %q of the step\n%s\nis neither the name nor a fixed text", what, word, step)
		}
	}
}

func isCommand(step string) bool {
	return strings.HasPrefix(step, "aws ") || strings.HasPrefix(step, "gcloud ") || strings.HasPrefix(step, "printf ")
}

// A step is pasted as it stands, and steps end with what they announce.
func TestSteps_areSentencesOrCommands(t *testing.T) {
	for cloud := range clouds {
		for _, change := range spoken(cloud) {
			row, _ := Of(change)
			for _, operation := range calls(cloud, change) {
				for _, c := range []Case{full(cloud, change), {Event: cmek.Event{Change: change}}, {Event: cmek.Event{Change: change, Key: "arn:aws:kms:us-east-1:111122223333:alias/x"}}} {
					c.Event.Source = sources[cloud] + operation
					steps := row.Steps(c)
					cmektest.CheckSteps(t, steps...)
					if last := steps[len(steps)-1]; strings.HasSuffix(last, ":") {
						t.Errorf("%s: the steps end with %q", change, last)
					}
				}
			}
		}
	}
}

func TestSteps_haveTheIDsOfTheEvent(t *testing.T) {
	for cloud := range clouds {
		for _, change := range spoken(cloud) {
			row, _ := Of(change)
			for _, operation := range calls(cloud, change) {
				c := full(cloud, change)
				c.Event.Source = sources[cloud] + operation
				if c.Event.Parameters["target"] = "444455556666"; operation == "SomethingNew" {
					continue
				}
				for _, step := range row.Steps(c) {
					if placeholder := regexp.MustCompile(`[a-z-]+ ([A-Z_]{4,})`).FindString(step); isCommand(step) && placeholder != "" && !slices.Contains([]string{
						// What the record of the call does not tell: what was there before.
						"permissions-boundary PERMISSIONS_BOUNDARY", "version-id VERSION_ID", "target-key-id TARGET_KEY_ID",
						"protocol PROTOCOL", "notification-endpoint NOTIFICATION_ENDPOINT", "rotation-period ROTATION_PERIOD", "next-rotation-time NEXT_ROTATION_TIME",
						"billing-account BILLING_ACCOUNT", "member MEMBER", "source-backup SOURCE_BACKUP", "export GS_BUCKET",
						"backup-type SYSTEM", // a value of AWS
					}, strings.TrimPrefix(placeholder, "--")) && !strings.Contains(step, "get-parameters-for-import") && !strings.Contains(step, "KEY_MATERIAL_DOES_NOT_EXPIRE") {
						t.Errorf("%s by %s: %s of %s, though the event tells all", change, operation, placeholder, step)
					}
				}
			}
		}
	}
}

func TestOnlyTheTableNamesChanges(t *testing.T) {
	// planned makes events, as decoders do, of what a plan is about to do.
	mayName := []string{"events/", "internal/cmek/", "functions/alerting/risk/", "functions/rotation/rotation.go", "functions/keyturn/demo", "functions/compliance/planned/"}
	name := regexp.MustCompile(`\bcmek\.Change[A-Z]\w*`)
	root := root(t)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && strings.HasPrefix(entry.Name(), ".") {
			return filepath.SkipDir
		}
		path, _ = filepath.Rel(root, path)
		path = filepath.ToSlash(path)
		if entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") ||
			slices.ContainsFunc(mayName, func(p string) bool { return strings.HasPrefix(path, p) }) {
			return nil
		}
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			return err
		}
		found := name.FindString(string(text))
		if found != "" {
			t.Errorf("%s names %s; ask its row (package risk) instead", path, found)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
