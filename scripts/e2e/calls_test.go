package e2e

import (
	"cmp"
	"encoding/json"
	"encoding/xml"
	"flag"
	"fmt"
	"maps"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/keyturn/keyturn/infra/aws/deployment"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/report"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// callsFile lists every call of AWS that the functions made in all tests: role, action, resource, and the item that was written. The
// tests of the stack compare it with what the roles may do.
const callsFile = "../../infra/aws/stack/testdata/calls.txt"

var recording = struct {
	sync.Mutex
	lines map[string]bool
}{lines: map[string]bool{}}

// identities knows who is behind a call of an installation, and what the call is about. It is safe for concurrent use.
type identities struct {
	scene string

	mu    sync.Mutex
	roles map[string]string // the name, by access key id
	named map[string]string // the logical id, by what a call names
}

func newIdentities(scene string) *identities {
	return &identities{scene: scene, roles: map[string]string{}, named: map[string]string{}}
}

// know says whose an access key is.
func (i *identities) know(accessKeyID, roleARN string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	name := roleARN[strings.LastIndexByte(roleARN, '/')+1:]
	i.roles[accessKeyID] = strings.TrimPrefix(name, i.scene+"-")
}

// learn takes the logical ids of what was deployed: by physical id, and by the values of what was made by hand.
func (i *identities) learn(physical map[string]string, values map[string]map[string]string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for id, name := range physical {
		i.named[name] = id
	}
	for id, attributes := range values {
		i.named[attributes["Ref"]] = id
	}
}

func roleARN(name string) string { return "arn:aws:iam::" + accountID + ":role/" + name }

// roleOf is the name of the role that signed the call, without the deployment's; "" if it is nobody's.
func (i *identities) roleOf(c call) string {
	_, credential, _ := strings.Cut(c.signed, "Credential=")
	key, _, _ := strings.Cut(credential, "/")
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.roles[key]
}

// heard learns from an answer of STS whose the credentials in it are.
func (i *identities) heard(c call, answer []byte) {
	var credentials struct {
		AccessKeyID string `xml:"AssumeRoleResult>Credentials>AccessKeyId"`
	}
	form, err := url.ParseQuery(string(c.body))
	if err == nil && xml.Unmarshal(answer, &credentials) == nil && credentials.AccessKeyID != "" {
		i.know(credentials.AccessKeyID, form.Get("RoleArn"))
	}
}

// record notes what a role must be allowed for the call. The error says that nobody knows.
func (i *identities) record(c call) error {
	if c.service == "cloud" || c.operation == "GetCallerIdentity" { // needs no permission
		return nil
	}
	role := i.roleOf(c)
	action, resources := permissionFor(c)
	if role == "" || action == "" || len(resources) == 0 {
		return fmt.Errorf("call %s by role %q is about %q: cannot tell the permission", c, role, resources)
	}
	i.add(role, action, itemOf(c), resources)
	return nil
}

// missed notes that S3 said of an object that it does not exist, and not that it may not be read: for that a role must be allowed to list
// the bucket (docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html).
func (i *identities) missed(c call) {
	_, resources := permissionFor(c)
	i.add(i.roleOf(c), "s3:ListBucket", "", []target{{resources[0].name, ""}})
}

// contentHash is what names an object of the CDK's.
var contentHash = regexp.MustCompile(`[0-9a-f]{64}`)

func (i *identities) add(role, action, item string, resources []target) {
	i.mu.Lock()
	defer i.mu.Unlock()
	recording.Lock()
	defer recording.Unlock()
	for _, r := range resources {
		name, ok := i.named[r.name]
		if !ok {
			name = strings.ReplaceAll(r.name, i.scene+"-", "")
		}
		line := role + " " + action + " " + name + contentHash.ReplaceAllString(r.part, "HASH")
		if item != "" {
			line += " " + item
		}
		recording.lines[line] = true
	}
}

// itemOf is the partition key of the item that a call writes, or the prefix of the objects that it lists, without the name of the thing that
// it is about; "" for other calls.
func itemOf(c call) string {
	if _, prefix, lists := strings.Cut(c.operation, "?"); lists && c.service == "s3" {
		i := slices.IndexFunc(ownFolders, func(folder string) bool { return strings.HasPrefix(prefix, folder) })
		if i < 0 {
			return prefix
		}
		return ownFolders[i] + "*"
	}
	var put struct {
		Item map[string]struct{ S string }
	}
	if c.service != "dynamodb" || c.operation != "PutItem" || json.Unmarshal(c.body, &put) != nil {
		return ""
	}
	kind, id, _ := strings.Cut(put.Item[amazon.PartitionKey].S, "#")
	if i := strings.IndexAny(id, "#:"); i >= 0 {
		id = id[:i+1] + "*"
	}
	return kind + "#" + id
}

// ownFolders are where the archive has the compliance runs, the proofs and what these rest on.
var ownFolders = []string{
	deployment.ArchivePrefix + "/" + report.RunsFolder, deployment.ArchivePrefix + "/" + ledger.ProofsFolder, deployment.ArchivePrefix + "/" + ledger.EvidenceFolder,
}

// part of a resource that a call is about.
type target struct{ name, part string }

// permissionFor is the action of IAM that the call needs, and on what.
func permissionFor(c call) (action string, resources []target) {
	var named struct {
		TableName, IndexName, KeyID, SecretID, Name, TrailName, EventBusName, QueueURL string
		RequestItems                                                                   map[string]any
	}
	_ = json.Unmarshal(c.body, &named) // What it does not name is "".
	form, _ := url.ParseQuery(string(c.body))
	action = c.service + ":" + c.operation
	one := func(name, part string) {
		if name != "" {
			resources = append(resources, target{name, part})
		}
	}
	switch c.service {
	case "dynamodb":
		if named.IndexName != "" {
			named.IndexName = "/index/" + named.IndexName
		}
		one(named.TableName, named.IndexName)
		for _, table := range slices.Sorted(maps.Keys(named.RequestItems)) {
			one(table, "")
		}
	case "s3":
		method, path, _ := strings.Cut(c.operation, " ")
		path, _, _ = strings.Cut(path, "?")
		bucket, object, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
		part := "/" + object
		own := slices.IndexFunc(ownFolders, func(folder string) bool { return strings.HasPrefix(object, folder) })
		if folder, _, inFolder := strings.Cut(object, "/"); own >= 0 {
			part = "/" + ownFolders[own] + "*" // compliance may use no more of the archive
		} else if inFolder {
			part = "/" + folder + "/*"
		}
		action = map[string]string{"PUT": "s3:PutObject", "GET": "s3:GetObject", "HEAD": "s3:GetObject", "ListObjectVersions": "s3:ListBucketVersions"}[method]
		if object == "" {
			part = ""
		}
		one(bucket, part)
	case "kms":
		one(named.KeyID, "")
	case "secretsmanager":
		one(named.SecretID, "")
	case "cloudtrail":
		one(cmp.Or(named.Name, named.TrailName, "*"), "")
	case "sns":
		one(form.Get("TopicArn"), "")
	case "events":
		rule := "*" // one of many
		if named.EventBusName != "" {
			rule = "scene0000/*"
		}
		one("arn:aws:events:"+regionOf(c)+":"+accountID+":rule/"+rule, "")
	case "sqs":
		words := strings.Split(named.QueueURL, "/")
		one("arn:aws:sqs:"+regionOf(c)+":"+accountID+":"+words[len(words)-1], "")
	case "sts":
		one(form.Get("RoleArn"), "")
	case "iam":
		if form.Has("RoleName") {
			one(roleARN(form.Get("RoleName")), "")
		}
		one(form.Get("PolicyArn"), "")
	}
	return action, resources
}

// regionOf is the Region that a call is signed for.
func regionOf(c call) string {
	words := strings.Split(c.signed, "/") // … Credential=KEY/DATE/REGION/SERVICE/aws4_request
	if len(words) < 3 {
		return ""
	}
	return words[2]
}

// checkCalls compares the calls of all tests with the golden file, or rewrites it.
func checkCalls() error {
	for _, filter := range []string{"test.run", "test.skip", "test.list"} {
		if flag.Lookup(filter).Value.String() != "" {
			return nil // What was left out may have made the calls that would be missed.
		}
	}
	recording.Lock()
	defer recording.Unlock()
	got := strings.Join(slices.Sorted(maps.Keys(recording.lines)), "\n") + "\n"
	if *update {
		return os.WriteFile(callsFile, []byte(got), 0o600)
	}
	data, err := os.ReadFile(callsFile)
	if err != nil {
		return err
	}
	want := map[string]bool{}
	for line := range strings.Lines(string(data)) {
		want[strings.TrimSpace(line)] = true
	}
	var problems []string
	for line := range recording.lines {
		if !want[line] {
			problems = append(problems, "new: "+line)
		}
	}
	for line := range want {
		if !recording.lines[line] {
			problems = append(problems, "no longer made: "+line)
		}
	}
	if len(problems) > 0 {
		slices.Sort(problems)
		return fmt.Errorf("the functions' calls are not those of %s (-update rewrites it):\n%s", callsFile, strings.Join(problems, "\n"))
	}
	return nil
}
