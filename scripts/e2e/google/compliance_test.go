package google

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/compliance"
	"github.com/keyturn/keyturn/internal/google"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/report"
	"github.com/keyturn/keyturn/internal/simulator"
)

// Two instances of the function get every tick of a day, at the same time. They leave one run, of which people are notified once, and which the
// command line finds, shows and verifies.
func TestADayOfChecks_isArchivedReportedAndVerified(t *testing.T) {
	t.Parallel()
	s := newStand(t, "acme-checked")
	s.sweep()
	// An evidence chain for the manifest to vouch for, and Data Access logs that corroborate it.
	for name, setting := range map[string]string{simulator.GoogleDataAccess: "on", simulator.GoogleLogging: "0s"} {
		if err := s.world.Set(name, setting); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.world.Rotate(ownKey); err != nil {
		t.Fatal(err)
	}
	s.sinks(1)
	s.untilReencrypted("books")

	s.putObject(s.project+"-"+name+"-source", "deployment.json", s.published)
	bucket, object, _ := strings.Cut(s.declaredIn, "/")
	s.putObject(bucket, object, s.declared)
	environment := maps.Clone(s.machine)
	maps.Copy(environment, s.compliance)
	maps.Copy(environment, map[string]string{"COCKROACH_SERVER": s.simulator, "KEYTURN_COMPLIANCE_AT": "0h"})
	instances := []string{s.serve(environment, "Compliance"), s.serve(environment, "Compliance")}
	tick, err := base64.StdEncoding.DecodeString(s.tick["body"].(string))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 { // the run may not have ended with the first, and is due no more after it
		var group sync.WaitGroup
		for _, url := range slices.Concat(instances, instances) {
			group.Go(func() {
				if answer := s.tickOf(url+"/Compliance", tick); answer != "204 No Content" {
					t.Errorf("a tick of compliance is answered with %s", answer)
				}
			})
		}
		group.Wait()
	}
	if answer := s.tickOf(instances[0]+"/Compliance", []byte(`{"message":{"data":"e30=","messageId":"m1"},"subscription":"s"}`)); !strings.HasPrefix(answer, "400") {
		t.Errorf("a push is answered with %s", answer)
	}
	if n := strings.Count(s.log.String(), `"`+compliance.LogRunEnded+`"`); n != 1 {
		t.Errorf("%d runs ended, want 1", n)
	}

	archive, err := google.NewArchive(google.Config{HTTP: &http.Client{Timeout: 10 * time.Second}, Endpoint: s.simulator}, s.project+"-"+name+"-archive", "evidence/")
	if err != nil {
		t.Fatal(err)
	}
	run, err := report.Load(t.Context(), archive, 0)
	if err != nil {
		t.Fatal(err)
	}
	m := run.Manifest
	if p := m.Population; !m.Complete || m.Run != 1 || m.NoPage != "" || p.Listed != len(clusters) || p.Checked != len(clusters) || len(m.Denied) > 0 {
		t.Errorf("the manifest is %+v", m)
	}
	if !strings.Contains(object, m.Configuration) || m.Exceptions[0].Check != "CMEK-26" || m.Exceptions[0].Accepts != 1 {
		t.Errorf("the manifest is about the declarations %s with the exceptions %+v; deployed is %s", m.Configuration, m.Exceptions, object)
	}
	if len(m.Chains) != 2 || m.Chains[0].Cluster != clusters["books"] || m.Chains[0].Count != 1 || m.Chains[1].Of != report.OfProofs || m.Chains[1].Count != 1 {
		t.Errorf("the manifest has the chains %+v", m.Chains)
	}
	if made, err := run.Report(t.Context()); err != nil || len(made.Proofs) != 1 || made.Proofs[0].State != report.Corroborated || made.Proofs[0].Cluster != clusters["books"] {
		t.Errorf("the proofs are %+v, %v", made.Proofs, err)
	}
	for _, ending := range []string{".html", ".jsonl", ".csv", "population.json"} {
		if !slices.ContainsFunc(m.Files, func(f report.File) bool { return strings.HasSuffix(f.Name, ending) }) {
			t.Errorf("no file of the run ends in %s: %+v", ending, m.Files)
		}
	}
	s.until("Slack has the message about the run", func() string {
		return map[bool]string{false: "one with its hash"}[len(s.messages("Compliance run 1", run.SHA256)) > 0]
	})
	if n := len(s.messages("Compliance run 1")); n != 1 {
		t.Errorf("Slack has %d messages about the run", n)
	}

	out, code := s.keyturn("evidence", "verify", "--manifest", run.SHA256)
	if code != 0 || !strings.Contains(out, "As written, compared with the ledger and the manifests:\n  1 record of re-encryptions\n  1 record corroborating them\n  1 compliance run with ") {
		t.Errorf("evidence verify exits with %d:\n%s", code, out)
	}
	proof := proofIn(t, archive)
	if out, code = s.keyturn("evidence", "list", clusters["books"]); code != 0 || !strings.Contains(out, proof) {
		t.Errorf("evidence list exits with %d:\n%s", code, out)
	}
	if out, code = s.keyturn("evidence", "show", proof); code != 0 || !strings.Contains(out, `"finding": "CORROBORATED"`) {
		t.Errorf("evidence show exits with %d:\n%s", code, out)
	}
	page, err := archive.Read(t.Context(), report.PageName(m.ChainStart, m.Run), "")
	if err != nil {
		t.Fatal(err)
	}
	if out, code = s.keyturn("report", "--format", "html"); code != 0 || out != string(page) {
		t.Errorf("report exits with %d, and makes another page than the one in the archive: %v", code, out != string(page))
	}
	// Without the ledger, as an auditor has it.
	if out, code = s.keyturnNaming("--archive", "gs://"+s.project+"-"+name+"-archive/evidence", "report", "--format", "csv"); code != 0 || !strings.Contains(out, "CMEK-04") {
		t.Errorf("report exits with %d:\n%s", code, out)
	}

	// What the run found is what a check on demand finds, of the keys that are the deployment's own.
	found, err := run.Report(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	declarations, err := filepath.Abs(declarationsFile)
	if err != nil {
		t.Fatal(err)
	}
	out, code = s.keyturn("check", "--format", "json", "--config", declarations)
	var onDemand report.Report
	if err := json.Unmarshal([]byte(out), &onDemand); err != nil || code != 3 {
		t.Fatalf("check exits with %d: %v\n%s", code, err, out)
	}
	if got, want := resultsOf(onDemand), resultsOf(found); !slices.Equal(got, want) {
		t.Errorf("keyturn check finds\n%s\nthe run found\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}

	// Whatever is changed in the archive is found.
	part := report.PartName(m.ChainStart, m.Run, 1, ".jsonl")
	s.upload(s.project+"-"+name+"-archive", "evidence/"+part, []byte("{}\n"), "")
	if out, code = s.keyturn("evidence", "verify", "--manifest", run.SHA256); code != 3 || !strings.Contains(out, part) {
		t.Errorf("evidence verify of a changed archive exits with %d:\n%s", code, out)
	}
}

// resultsOf are the results of the checks by subject.
func resultsOf(r report.Report) (all []string) {
	for _, f := range r.Findings {
		if f.Check == "CMEK-30" || f.Check == "CMEK-25" {
			continue // a person's API key is in no secret of the deployment, and a person does not know what the deployment consists of
		}
		all = append(all, f.Key()+" "+string(f.Result))
	}
	slices.Sort(all)
	return all
}

// proofIn is the name of the one proof in the archive.
func proofIn(t *testing.T, archive *google.Archive) string {
	t.Helper()
	var names []string
	for s, err := range archive.List(t.Context(), ledger.ProofsFolder) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, s.Name)
	}
	if len(names) != 1 {
		t.Fatalf("the archive has the proofs %q", names)
	}
	return names[0]
}
