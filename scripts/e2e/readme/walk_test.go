package readme

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden file")

const golden = "testdata/first-15-minutes.txt"

// What people wait for, at most.
const (
	patience = 90 * time.Second
	building = 15 * time.Minute
)

// walk is one reader's two shells.
type walk struct {
	t      *testing.T
	clone  string
	server *output
	// environ is what the second shell has after the paste.
	environ []string
}

// output is what a process has printed so far.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func TestFirst15Minutes_asPrinted(t *testing.T) {
	if os.Getenv("KEYTURN_E2E") != "1" {
		t.Skip("it builds everything and serves the port that README names; KEYTURN_E2E=1 runs it")
	}
	expected, err := filepath.Abs(golden)
	if err != nil {
		t.Fatal(err)
	}
	w := &walk{t: t, clone: freshClone(t), server: &output{}}
	blocks := w.blocks()
	w.start(blocks[0])

	var page strings.Builder
	for _, block := range blocks[1:4] {
		for line := range strings.Lines(block) {
			line = strings.TrimSpace(line)
			fmt.Fprintf(&page, "$ %s\n%s\n", line, w.readable(w.run(line)))
		}
	}
	page.WriteString("(Slack)\n" + w.slack())
	if records, err := filepath.Glob(filepath.Join(w.clone, ".keyturn", "simulate-*", "archive", "evidence", "*", "*.json")); err != nil || len(records) != 5 {
		t.Errorf("there are %d records of evidence (%v), want one for each cluster of the two rotated keys", len(records), err)
	}
	if *update {
		if err := os.WriteFile(expected, []byte(page.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(expected)
	if err != nil {
		t.Fatal(err)
	}
	if page.String() != string(want) {
		t.Errorf("what is printed differs from %s (-update rewrites it):\n%s", golden, page.String())
	}
}

// freshClone has what is committed, and nothing else.
func freshClone(t *testing.T) string {
	t.Helper()
	root, err := exec.Command("git", "rev-parse", "--show-toplevel").Output()
	if err != nil {
		t.Fatalf("find the checkout to clone: %v", err)
	}
	folder := filepath.Join(t.TempDir(), "keyturn")
	if out, err := exec.Command("git", "clone", "--quiet", "--no-hardlinks", strings.TrimSpace(string(root)), folder).CombinedOutput(); err != nil {
		t.Fatalf("clone: %v\n%s", err, out)
	}
	return folder
}

// blocks are what README shows to paste, in its first 15 minutes.
func (w *walk) blocks() (blocks []string) {
	w.t.Helper()
	text, err := os.ReadFile(filepath.Join(w.clone, "README.md"))
	if err != nil {
		w.t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## The first 15 minutes\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for _, found := range regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(section, -1) {
		blocks = append(blocks, found[1])
	}
	if len(blocks) != 5 { // the last is for one's own fleet
		w.t.Fatalf("the first 15 minutes have %d blocks to paste, want 5", len(blocks))
	}
	return blocks
}

// start pastes the first block into a shell, which serves from then on, and what that prints into the second one.
func (w *walk) start(block string) {
	w.t.Helper()
	shell := exec.Command("bash", "-ec", block)
	shell.Dir, shell.Stdout, shell.Stderr = w.clone, w.server, w.server
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := shell.Start(); err != nil {
		w.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- shell.Wait() }()
	w.t.Cleanup(func() {
		_ = syscall.Kill(-shell.Process.Pid, syscall.SIGINT)
		select {
		case <-ended:
		case <-time.After(patience):
			_ = syscall.Kill(-shell.Process.Pid, syscall.SIGKILL)
		}
	})
	const last = "#   keyturn status\n"
	for deadline := time.Now().Add(building); !strings.Contains(w.server.String(), last); time.Sleep(100 * time.Millisecond) {
		select {
		case err := <-ended:
			w.t.Fatalf("the first shell ended: %v\n%s", err, w.server)
		default:
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("after %s the first shell has printed\n%s", building, w.server)
		}
	}
	_, paste, _ := strings.Cut(w.server.String(), "# Paste this into another shell:\n")
	second := exec.Command("bash", "-ec", "set -u\n"+paste+"env -0")
	second.Dir = w.clone
	second.Env = append(slices.DeleteFunc(os.Environ(), func(pair string) bool { return strings.HasPrefix(pair, "KEYTURN_") }), "AWS_PAGER=", "AWS_CONFIG_FILE="+os.DevNull, "AWS_SHARED_CREDENTIALS_FILE="+os.DevNull, "NO_COLOR=1")
	out, err := second.Output()
	if err != nil {
		w.t.Fatalf("paste into the second shell: %v\n%s", err, paste)
	}
	for pair := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		w.environ = append(w.environ, pair)
	}
}

// underWay is what status and alerts print before what was begun has happened.
var underWay = regexp.MustCompile(`never|running|→|No incident is open`)

// run runs a command in the second shell. Somebody who types waits until the functions have read the fleet, and looks until what was begun
// has happened; what is returned is what is printed then, with the exit code.
func (w *walk) run(line string) (printed string) {
	w.t.Helper()
	watching := strings.HasSuffix(line, " --watch")
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Second) {
		command := line
		if watching { // Ctrl-C, after two views
			command = "timeout --preserve-status --signal INT 7 " + line
		}
		shell := exec.Command("bash", "-c", command)
		shell.Dir, shell.Env = w.clone, w.environ
		out, err := shell.CombinedOutput()
		code := shell.ProcessState.ExitCode()
		if code < 0 || code == 1 || code == 2 {
			w.t.Fatalf("%s: %v\n%s", line, err, out)
		}
		printed = string(out)
		if watching {
			views := strings.Split(printed, "Ctrl-C ends\n\n")
			printed = views[len(views)-1]
		}
		if code != 0 {
			printed += fmt.Sprintf("=> %d\n", code)
		}
		if !underWay.MatchString(printed) && (!watching || w.reencrypted() == 5) {
			return printed
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%s still prints after %s\n%s", line, patience, printed)
		}
		if !strings.HasPrefix(line, "bin/keyturn ") {
			w.t.Fatalf("%s prints\n%s", line, printed)
		}
	}
}

// Words for what differs between two walks. A material is checked against the KMS: one that is not the key's current one is named so.
var replaced = []struct {
	what *regexp.Regexp
	word string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`), "TIME"},
	{regexp.MustCompile(`\b(\d+[smhd] ago|just now|in \d+[smhd])\b`), "WHEN"},
	{regexp.MustCompile(`\b(next poll|next one) (now|due)\b`), "$1 WHEN"},
	{regexp.MustCompile(`(?m)^[0-9a-f]{10}\b`), "ID"},
	{regexp.MustCompile(`\b(Incident )[0-9a-f]{10}\b`), "${1}ID"},
	{regexp.MustCompile(`ordered WHEN by \S+:`), "ordered WHEN by WHO:"},
	{regexp.MustCompile(`\bby \S+@\S+:`), "by WHO:"},
	{regexp.MustCompile(`/blob/[0-9a-z.-]+/`), "/blob/VERSION/"},
	{regexp.MustCompile(`(\S)  +`), "$1  "},
	{regexp.MustCompile(`(?m) +$`), ""},
}

// readable is what was printed, without times and ids.
func (w *walk) readable(text string) string {
	w.t.Helper()
	text = strings.ReplaceAll(text, w.clone, "CLONE")
	for short, key := range w.materials() {
		text = strings.ReplaceAll(text, "material:"+short+"…", "the material of "+key)
	}
	for _, r := range replaced {
		text = r.what.ReplaceAllString(text, r.word)
	}
	return sorted(text)
}

// sorted has the clusters of plan's table in the order of their names: it prints each when its keys are read.
func sorted(text string) string {
	head, rest, ok := strings.Cut(text, "WHAT TO DO  WHY\n")
	if !ok {
		return text
	}
	table, foot, _ := strings.Cut(rest, "\n\n")
	var clusters []string
	for line := range strings.SplitSeq(table, "\n") {
		if strings.HasPrefix(line, " ") { // another region of the cluster above
			clusters[len(clusters)-1] += "\n" + line
			continue
		}
		clusters = append(clusters, line)
	}
	slices.Sort(clusters)
	return head + "WHAT TO DO  WHY\n" + strings.Join(clusters, "\n") + "\n\n" + foot
}

// materials are the current materials of all keys as the KMS says, shortened, with the ends of the keys' ids. Replicas share one.
func (w *walk) materials() map[string]string {
	w.t.Helper()
	found := map[string]string{}
	for _, region := range []string{"us-east-1", "us-west-2", "eu-west-1", "eu-central-1"} {
		var keys struct{ Keys []struct{ KeyArn string } }
		w.aws(&keys, "list-keys", "--region", region)
		for _, key := range keys.Keys {
			var described struct {
				KeyMetadata struct {
					Material string `json:"CurrentKeyMaterialId"`
				}
			}
			w.aws(&described, "describe-key", "--region", region, "--key-id", key.KeyArn)
			if id := described.KeyMetadata.Material; len(id) > 12 {
				found[id[:12]] = "…" + key.KeyArn[len(key.KeyArn)-4:]
			}
		}
	}
	if len(found) < 5 {
		w.t.Fatalf("the KMS shows the materials %v", found)
	}
	return found
}

func (w *walk) aws(into any, operation string, flags ...string) {
	w.t.Helper()
	command := exec.Command("aws", append([]string{"kms", operation, "--output", "json"}, flags...)...)
	command.Env = w.environ
	out, err := command.Output()
	if err == nil {
		err = json.Unmarshal(out, into)
	}
	if err != nil {
		w.t.Fatalf("aws kms %s %v: %v", operation, flags, err)
	}
}

var (
	posted   = regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d  Slack  (.*)$`)
	together = regexp.MustCompile(`^\[INFO\] (\d+) alerts \((\d+) info\)$`)
	one      = regexp.MustCompile(`^\[INFO\] Cluster \S+: the store key is re-encrypted under `)
)

// reencrypted counts the clusters that Slack reported as re-encrypted. Those that come at once are one message.
func (w *walk) reencrypted() (count int) {
	for _, line := range posted.FindAllStringSubmatch(w.server.String(), -1) {
		if several := together.FindStringSubmatch(line[1]); several != nil && several[1] == several[2] {
			var n int
			_, _ = fmt.Sscan(several[1], &n)
			count += n
		} else if one.MatchString(line[1]) {
			count++
		}
	}
	return count
}

// slack is what was sent to Slack beside that, and whether the canary came first.
func (w *walk) slack() string {
	w.t.Helper()
	for deadline := time.Now().Add(patience); !strings.Contains(w.server.String(), "On hold"); time.Sleep(time.Second) { // the last that was typed
		if time.Now().After(deadline) {
			w.t.Fatalf("The hold was not reported to Slack:\n%s", w.server)
		}
	}
	if n := w.reencrypted(); n != 5 {
		w.t.Errorf("%d clusters were reported to Slack, want 5:\n%s", n, w.server)
	}
	var rest []string
	first := ""
	for _, line := range posted.FindAllStringSubmatch(w.server.String(), -1) {
		switch {
		case together.MatchString(line[1]):
		case strings.Contains(line[1], "Cluster catalog"): // of another key, so it comes when it comes
		case one.MatchString(line[1]):
			first = cmp.Or(first, line[1])
		default:
			rest = append(rest, line[1])
		}
	}
	return w.readable(strings.Join(append(rest[:1:1], slices.Concat([]string{first}, rest[1:])...), "\n") + "\n")
}
