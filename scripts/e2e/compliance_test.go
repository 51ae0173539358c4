package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"net/http/httptest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	eventbridgetypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/keyturn/keyturn/functions/notify"
	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/report"
	"github.com/keyturn/keyturn/internal/simulator"
)

func TestADayOfChecksIsArchivedReportedAndVerified(t *testing.T) {
	w := newWatch(t, simulator.DefaultSeed())
	makeTrail(t)
	a := w.account
	a.storeDeclarations()
	a.onDefaultBus("us-east-1")
	a.store("compliance-api-key", `{"api_key":"`+simulator.SampleAPIKey+`"}`)
	w.leaveRun()
	w.followed("payments")
	day := a.clock(a.function("compliance", w.world, w.wire, "KEYTURN_COMPLIANCE_AT=0h"))
	must(t, day.tick(), "tick")
	must(t, day.tick(), "tick again") // nothing is due any more

	archive := amazon.NewArchive(a.config, a.bucket, "archive/")
	run, err := report.Load(t.Context(), archive, 0)
	if err != nil {
		t.Fatalf("load the run: %v\n%s", err, day.lambda.log.tail())
	}
	m := run.Manifest
	if !m.Complete || m.Run != 2 || m.NoPage != "" || m.Population.Missing() > 0 || len(m.Denied) > 0 || !strings.HasPrefix(m.Caller, "arn:aws:sts::"+accountID) {
		t.Errorf("the manifest says %+v", m)
	}
	made, err := run.Report(t.Context())
	must(t, err, "read the run")
	if len(made.Proofs) != 1 || made.Proofs[0].State != report.Corroborated {
		t.Errorf("the proofs are %+v", made.Proofs)
	}
	page, err := archive.Read(t.Context(), report.PageName(m.ChainStart, m.Run), "")
	must(t, err, "read the page")
	if !bytes.Contains(page, []byte("ledger-eu")) {
		t.Error("the page names no cluster")
	}
	w.until("Slack has the digest", func() string {
		if slices.ContainsFunc(w.receiver.got(notify.Slack), func(d delivery) bool {
			return strings.Contains(d.text, "Compliance run 2") && strings.Contains(d.text, run.SHA256)
		}) {
			return ""
		}
		return "a message with the hash of the manifest"
	})

	p := w.person()
	if out := p.run(0, "evidence", "verify", "--manifest", run.SHA256); !strings.Contains(out, "1 record of re-encryptions\n  1 record corroborating them\n  2 compliance runs") {
		t.Errorf("keyturn evidence verify says\n%s", out)
	}
	if out := p.run(0, "report", "--format", "html"); out != string(page) {
		t.Error("keyturn report makes another page than the one in the archive")
	}
	var onDemand report.Report
	must(t, json.Unmarshal([]byte(p.run(3, "check", "--format", "json")), &onDemand), "read what keyturn check prints")
	archived, err := run.Report(t.Context())
	must(t, err, "read the run")
	if got, want := resultsOf(onDemand), resultsOf(archived); !slices.Equal(got, want) {
		t.Errorf("keyturn check finds\n%s\nthe run found\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}

	// Whoever delivered the proof died before the ledger knew: the next day's run finds the record in the archive.
	w.deliverAgain(archive, made.Proofs[0])
	must(t, day.tick(), "tick of the next day")
	if out := p.run(0, "evidence", "verify"); !strings.Contains(out, "1 record of re-encryptions\n  1 record corroborating them\n  3 compliance runs") {
		t.Errorf("after a repeated delivery keyturn evidence verify says\n%s", out)
	}
	if len(w.troubles) > 0 {
		t.Errorf("invocations failed: %v", w.troubles)
	}
}

// followed leaves a re-encryption that was followed through, in the ledger and in the archive.
func (s *scene) followed(cluster string) {
	s.t.Helper()
	must(s.t, s.world.Set(simulator.CloudTrailLookup, "0s"), "show records at once")
	key := s.world.StoreKeys()
	i := slices.IndexFunc(key, func(k simulator.StoreKey) bool { return k.Cluster == cluster })
	id, region, uri := key[i].ClusterID, key[i].Region, key[i].URI
	sent := time.Now().UTC()
	must(s.t, s.world.PUTCMEK("keyturn", cluster), "PUT")
	done := ledger.Done{Region: region, Key: uri, Version: cmek.MaterialVersion(key[i].Material), At: time.Now().UTC(), Followed: true, Sent: sent}
	var record ledger.Message
	_, err := s.ledger.UpdateCluster(s.t.Context(), id, func(c *ledger.Cluster) (err error) {
		c.Cluster.ID, c.Cluster.Name, c.NextLook = id, cluster, time.Now().Add(24*time.Hour)
		c.SetDone(done)
		c.Link(done.At, region, func(number int, previous string) (data []byte) {
			data, err = json.Marshal(rotation.Evidence{Schema: rotation.EvidenceSchema, Number: number, PreviousSHA256: previous, ClusterID: id, Region: region,
				Key: uri, Version: done.Version, DoneAt: done.At})
			return data
		})
		record, c.Outbox = c.Messages[0], ledger.Outbox{}
		return err
	})
	must(s.t, err, "note the re-encryption")
	must(s.t, amazon.NewArchive(s.account.config, s.account.bucket, "archive/").PutIfAbsent(s.t.Context(), record.ID, record.Evidence), "archive the record")
}

// deliverAgain puts the proof into the ledger's outbox as it was before its delivery, and lets the next day begin.
func (s *scene) deliverAgain(archive *amazon.Archive, proof report.Proof) {
	s.t.Helper()
	data, err := archive.Read(s.t.Context(), proof.Record, "")
	must(s.t, err, "read the proof")
	proofs, err := s.ledger.Proofs(s.t.Context(), proof.Cluster)
	must(s.t, err, "read the ledger's proofs")
	proofs.Messages = []ledger.Message{{ID: proof.Record, Evidence: data}}
	must(s.t, s.ledger.SaveProofs(s.t.Context(), proofs), "save the ledger's proofs")
	now := time.Now().UTC()
	runs, err := s.ledger.LeaseRuns(s.t.Context(), "test", now, now)
	must(s.t, err, "lease runs")
	runs.Day, runs.Holder = runs.Day-1, ""
	must(s.t, s.ledger.SaveRuns(s.t.Context(), runs), "save runs")
}

// leaveRun leaves a run that has begun long ago, and so is given up when the next one begins: operations get a message about that.
func (s *scene) leaveRun() {
	s.t.Helper()
	now, began := time.Now().UTC(), time.Now().UTC().Add(-7*time.Hour).Truncate(time.Second)
	runs, err := s.ledger.LeaseRuns(s.t.Context(), "test", now, now)
	must(s.t, err, "lease runs")
	runs.Start, runs.Number, runs.Day = began, 1, int(now.Unix()/int64((24*time.Hour).Seconds()))-1
	runs.Current, runs.Holder = &ledger.CurrentRun{Began: began}, ""
	must(s.t, s.ledger.SaveRuns(s.t.Context(), runs), "save runs")
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

// storeDeclarations puts what is declared for the checks where the CDK does when it deploys.
func (a *account) storeDeclarations() {
	a.t.Helper()
	for _, variable := range []string{"KEYTURN_DECLARATIONS", "KEYTURN_DETECTION"} {
		location := a.functions["compliance"].Environment.Variables[variable]
		bucket, name, _ := strings.Cut(strings.TrimPrefix(location, "s3://"), "/")
		data, err := os.ReadFile(filepath.Join(cloudAssembly(binaries, a.variant), "asset."+name))
		must(a.t, err, "read what is to be stored at "+location)
		if variable == "KEYTURN_DECLARATIONS" {
			_, err = a.s3.CreateBucket(a.t.Context(), &s3.CreateBucketInput{Bucket: &bucket})
			must(a.t, err, "create bucket of the CDK")
			a.learn(map[string]string{"arn:aws:s3:::" + bucket: bucket}, nil)
		}
		data = bytes.ReplaceAll(data, []byte("scene0000"), []byte(a.name))
		_, err = a.s3.PutObject(a.t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: aws.String(name), Body: bytes.NewReader(data)})
		must(a.t, err, "store "+variable)
	}
}

// onDefaultBus puts the rules of the Region's spoke on its default bus, too, where the checks look for them, and the queue for their dead
// letters beside them. They lead to the hub's bus, and nothing comes to the default bus here.
func (a *account) onDefaultBus(region string) {
	a.t.Helper()
	s := a.spoke(region)
	rules, err := s.bus.ListRules(a.t.Context(), &eventbridge.ListRulesInput{EventBusName: &s.defaultBus})
	must(a.t, err, "list the spoke's rules")
	for _, r := range rules.Rules {
		_, err := s.bus.PutRule(a.t.Context(), &eventbridge.PutRuleInput{Name: r.Name, EventPattern: r.EventPattern, State: r.State})
		must(a.t, err, "put rule "+*r.Name)
		_, err = s.bus.PutTargets(a.t.Context(), &eventbridge.PutTargetsInput{Rule: r.Name, Targets: []eventbridgetypes.Target{
			{Id: aws.String("hub"), Arn: aws.String("arn:aws:events:us-east-1:" + accountID + ":event-bus/" + a.name), RoleArn: aws.String(roleARN("forward"))},
		}})
		must(a.t, err, "put target of rule "+*r.Name)
	}
}

// person runs the command line against the deployment.
type person struct {
	t           *testing.T
	program     string
	environment []string
}

func (s *scene) person() person {
	s.t.Helper()
	program := filepath.Join(s.t.TempDir(), "keyturn")
	cmd := exec.Command("go", "build", "-trimpath", "-o", program, "./functions/keyturn")
	cmd.Dir = "../.."
	out, err := cmd.CombinedOutput()
	must(s.t, err, "build keyturn: "+string(out))
	cloud, kms := httptest.NewServer(s.world.CloudAPI()), httptest.NewServer(s.world.AWSKMS())
	s.t.Cleanup(cloud.Close)
	s.t.Cleanup(kms.Close)
	return person{s.t, program, []string{
		"COCKROACH_SERVER=" + cloud.URL, "COCKROACH_API_KEY=" + simulator.SampleAPIKey,
		"KEYTURN_LEDGER=dynamodb://" + s.account.table, "KEYTURN_ARCHIVE=s3://" + s.account.bucket + "/archive",
		"AWS_REGION=" + region, "AWS_ACCESS_KEY_ID=harness", "AWS_SECRET_ACCESS_KEY=" + secretAccessKey,
		"AWS_ENDPOINT_URL=" + motoEndpoint, "AWS_ENDPOINT_URL_KMS=" + kms.URL, "HOME=" + s.t.TempDir(),
	}}
}

// run returns what the command prints, which must end with the code.
func (p person) run(code int, args ...string) string {
	p.t.Helper()
	cmd := exec.Command(p.program, args...)
	cmd.Env, cmd.Dir = p.environment, p.t.TempDir()
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if exit := (&exec.ExitError{}); err != nil && !errors.As(err, &exit) || cmd.ProcessState.ExitCode() != code {
		p.t.Fatalf("keyturn %s ends with %v, want code %d\n%s%s", strings.Join(args, " "), err, code, out, errs.String())
	}
	return string(out)
}
