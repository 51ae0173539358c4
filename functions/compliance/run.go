package compliance

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/report"
)

// LogRunEnded is the log message at the end of a complete run. Alarms are raised where it does not come.
const LogRunEnded = "compliance run ended"

// runInventoryAge is how old the ledger's inventory may be for what follows from the keys of all clusters of a large fleet. What is
// checked of a cluster itself is as fresh as on demand.
const runInventoryAge = 90 * time.Minute

// run is the scheduled run under way. It goes from part to part. What is in the archive counts: a part whose record in the ledger was
// lost is read there and not made again, so that a run that is interrupted anywhere goes on to the same end.
type run struct {
	*Function
	// configuration is the hash of what is declared.
	configuration string
	state         *ledger.Runs
	number        int
	tally         tally
	// incidents are those that are open.
	incidents []*ledger.Incident
}

// Tick begins the run of the day when its time has come, and goes on with the one under way until the deadline. A tick that finds nothing
// to do costs one read of the ledger.
func (f *Function) Tick(ctx context.Context) error {
	now := time.Now()
	state, err := f.Ledger.Runs(ctx)
	if err != nil {
		return err
	}
	if s, _ := decide(state, now, f.Settings.At); s == rest {
		return nil
	}
	until := now.Add(15 * time.Minute)
	if deadline, ok := ctx.Deadline(); ok {
		until = deadline
		// What is begun is brought to an end, so the last seconds are left for that.
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-min(10*time.Second, time.Until(deadline)/10)))
		defer cancel()
	}
	state, err = f.Ledger.LeaseRuns(ctx, f.Holder, now, until)
	switch {
	case errors.Is(err, ledger.ErrLeased):
		return nil
	case err != nil:
		return err
	}
	own := *f
	r := &run{Function: &own, state: state}
	if err = r.declare(ctx); err == nil {
		err = r.step(ctx)
	}
	if errors.Is(err, context.DeadlineExceeded) && nearlyUp(ctx) && state.Current != nil {
		f.Log.Info("compliance run goes on with the next tick", "run", state.Number, "parts", state.Current.Segment)
		err = nil
	}
	// Whoever comes next need not wait for the lease to run out.
	state.Holder, state.Until = "", time.Time{}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return errors.Join(err, f.Ledger.SaveRuns(ctx, state))
}

// declare reads what is declared now.
func (r *run) declare(ctx context.Context) (err error) {
	if r.Declare != nil {
		r.Declared, r.configuration, err = r.Declare(ctx)
		return err
	}
	data, err := json.Marshal(r.Declared)
	if err != nil {
		return fmt.Errorf("encode declarations: %w", err)
	}
	r.configuration = digest(data)
	return nil
}

func (r *run) step(ctx context.Context) error {
	s, day := decide(r.state, time.Now(), r.Settings.At)
	why := "the next run was due"
	if s == proceed && r.state.Current.Configuration != r.configuration {
		s, why = abandon, "what is declared had changed"
	}
	if s == abandon && !r.state.Current.Walked.IsZero() {
		s = proceed // only its end is left
	}
	if s == abandon {
		if err := r.resume(); err != nil {
			return err
		}
		if err := r.end(ctx, fmt.Sprintf("it was given up after %d parts, when %s", r.state.Current.Segment, why)); err != nil {
			return err
		}
		s = begin
	}
	if s == begin {
		if r.state.Start.IsZero() {
			r.state.Start = time.Now().UTC().Truncate(time.Second)
		}
		number, err := r.free(ctx)
		if err != nil {
			return err
		}
		r.state.Current = &ledger.CurrentRun{Began: time.Now().UTC(), Missed: missed(r.state, day), Configuration: r.configuration}
		r.state.Number, r.state.Day = number, day
		if err := r.Ledger.SaveRuns(ctx, r.state); err != nil {
			return err
		}
	}
	if err := r.resume(); err != nil {
		return err
	}
	if r.state.Current.Walked.IsZero() {
		if err := r.walk(ctx); err != nil {
			return err
		}
	}
	return r.end(ctx, "")
}

// free is the number of the next run. What is archived counts as a run's own, so that a number must have nothing in the archive yet. It
// has if the ledger is older than that, one restored from a backup, or if somebody else wrote there.
func (r *run) free(ctx context.Context) (number int, err error) {
	const most = 10_000
	for number = r.state.Number + 1; number <= r.state.Number+most; number++ {
		switch taken, err := r.taken(ctx, number); {
		case err != nil:
			return 0, err
		case !taken:
			return number, nil
		}
		r.Log.Warn("the archive has a run that the ledger does not know", "run", number)
	}
	return 0, fmt.Errorf("the archive has %d runs that the ledger does not know", most)
}

// taken reports whether the archive has a file that a run of the number begins or ends with.
func (r *run) taken(ctx context.Context, number int) (bool, error) {
	start := r.state.Start
	for _, name := range []string{report.PopulationName(start, number), report.PartName(start, number, 1, ".jsonl"), report.PartName(start, number, 1, ".csv"),
		report.PageName(start, number), report.ManifestName(start, number)} {
		if _, err := r.Archive.Read(ctx, name, ""); !errors.Is(err, cmek.ErrNotFound) {
			return err == nil, err
		}
	}
	return false, nil
}

// resume takes up what the run has counted.
func (r *run) resume() error {
	r.number, r.tally = r.state.Number, tally{}
	if r.state.Current.Tally == nil {
		return nil
	}
	if err := json.Unmarshal(r.state.Current.Tally, &r.tally); err != nil {
		return fmt.Errorf("read tally of run %d: %w", r.number, err)
	}
	return nil
}

// walk goes through the clusters of the run that are left, and then through what no cluster names.
func (r *run) walk(ctx context.Context) (err error) {
	g := newGatherer(r.Function, runInventoryAge)
	g.notes = true
	if err := g.inventory(ctx); err != nil {
		return err
	}
	g.organization(ctx)
	if err := g.outOfTime(ctx); err != nil {
		return err
	}
	if r.incidents, err = r.Ledger.OpenIncidents(ctx); err != nil && !errors.Is(err, ledger.ErrUndecodable) {
		return err
	}
	left, err := r.left(ctx, g)
	if err != nil {
		return err
	}
	for part := range slices.Chunk(left, r.Settings.Part) {
		if err := r.part(ctx, g, part); err != nil {
			return err
		}
	}
	return r.part(ctx, g, nil)
}

// left are the clusters of the run that are not checked yet. Which clusters it is about is settled when it begins.
func (r *run) left(ctx context.Context, g *gatherer) ([]string, error) {
	current := r.state.Current
	file := report.PopulationName(r.state.Start, r.number)
	data, err := r.once(ctx, file, func() ([]byte, error) {
		all := []report.Member{}
		for _, m := range g.all {
			all = append(all, report.Member{ID: m.ID, Name: m.Name, OutOfScope: m.Why})
		}
		return json.MarshalIndent(all, "", " ")
	})
	if err != nil {
		return nil, err
	}
	var all []report.Member
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	if current.Population == "" {
		r.file(file, data)
		p := &r.tally.Population
		for _, m := range all {
			p.Listed++
			if m.OutOfScope != "" {
				p.OutOfScope = append(p.OutOfScope, report.Cluster{ID: m.ID, Name: m.Name, Why: brief(m.OutOfScope)})
			}
		}
		current.Population = digest(data)
		if err := r.save(ctx); err != nil {
			return nil, err
		}
	}
	var left []string
	for _, m := range all {
		if m.OutOfScope == "" && m.ID > current.Cursor {
			left = append(left, m.ID)
		}
	}
	return left, nil
}

// part checks some clusters and what they are the first to name; without clusters, what none names, with which the walk ends.
func (r *run) part(ctx context.Context, g *gatherer, ids []string) error {
	current := r.state.Current
	number := current.Segment + 1
	name := report.PartName(r.state.Start, r.number, number, ".jsonl")
	data, err := r.once(ctx, name, func() ([]byte, error) { return r.make(ctx, g, ids) })
	if err != nil {
		return err
	}
	all, err := parse(data)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	table, err := csvOf(all)
	if err != nil {
		return err
	}
	tableName := report.PartName(r.state.Start, r.number, number, ".csv")
	if err := r.Archive.PutIfAbsent(ctx, tableName, table); err != nil {
		return err
	}
	r.file(name, data)
	r.file(tableName, table)
	if err := r.take(ctx, all); err != nil {
		return err
	}
	current.Segment = number
	if len(ids) > 0 {
		current.Cursor = ids[len(ids)-1]
	} else {
		current.Walked = time.Now().UTC()
	}
	return r.save(ctx)
}

// make reads the facts of a part and checks them.
func (r *run) make(ctx context.Context, g *gatherer, ids []string) ([]byte, error) {
	g.nextPart()
	gather := func() error { return g.part(ctx, ids) }
	if len(ids) == 0 {
		gather = func() error { return g.rest(ctx) }
	}
	if err := errors.Join(gather(), g.outOfTime(ctx)); err != nil {
		return nil, err
	}
	now := time.Now().UTC()
	findings := slices.DeleteFunc(checks.Run(g.facts, r.Declared, now), func(f checks.Finding) bool {
		owner := g.owners.owner(f.Subject)
		if len(ids) == 0 {
			return owner != ""
		}
		_, ours := slices.BinarySearch(ids, owner)
		return !ours
	})
	before, err := r.before(ctx, findings)
	if err != nil {
		return nil, err
	}
	var all []report.Line
	if g.facts.Organization.Unread == "" {
		all = append(all, report.Line{Organization: g.facts.Organization.Value})
	}
	for _, c := range g.facts.Clusters {
		all = append(all, report.Line{Cluster: &report.Member{ID: c.ID, Name: c.Info.Value.Name, Unread: c.CMEK.Unread}})
	}
	for i := range findings {
		f := &findings[i]
		f.Incident = reportedBy(*f, r.incidents, g.facts.Clusters)
		follow(before.last(*f), f, now)
		all = append(all, report.Line{Finding: f})
	}
	proofs, err := r.prove(ctx, g)
	if err = errors.Join(err, g.outOfTime(ctx)); err != nil {
		return nil, err
	}
	for i := range proofs {
		all = append(all, report.Line{Proof: &proofs[i]})
	}
	for _, k := range g.facts.Keys {
		if _, ours := slices.BinarySearch(ids, g.owners.of(ofKey(k.URI))); ours || len(ids) == 0 {
			t := timeline(k, r.Declared)
			all = append(all, report.Line{Timeline: &t})
		}
	}
	return lines(all)
}

// outOfTime is an error if a read ended for want of time and may have lacked ours. What we had no time to read is read by the next tick,
// and is no finding.
func (g *gatherer) outOfTime(ctx context.Context) error {
	if g.timedOut.Load() && nearlyUp(ctx) {
		return fmt.Errorf("read facts: %w", context.DeadlineExceeded)
	}
	return nil
}

func nearlyUp(ctx context.Context) bool {
	const longestRead = 2 * time.Minute
	deadline, ok := ctx.Deadline()
	return ok && time.Until(deadline) < longestRead
}

// take takes over what a part in the archive says: into the ledger's last results, into what was counted, and to people.
func (r *run) take(ctx context.Context, all []report.Line) error {
	findings := findingsOf(all)
	before, err := r.before(ctx, findings)
	if err != nil {
		return err
	}
	for _, l := range all {
		switch {
		case l.Organization != "":
			r.tally.Organization = l.Organization
		case l.Cluster != nil:
			r.tally.see(*l.Cluster)
		}
	}
	now := map[string][]ledger.Result{}
	r.tally.denied = nil
	for i := range findings {
		f := &findings[i]
		is, change := follow(before.last(*f), f, f.Since)
		now[groupOf(f.Subject)] = append(now[groupOf(f.Subject)], is)
		alone, err := r.alone(ctx, *f, change)
		if err != nil {
			return err
		}
		r.tally.add(*f, change, alone)
	}
	if err := r.report(ctx, findings); err != nil {
		return err
	}
	return before.save(ctx, r, now)
}

func findingsOf(all []report.Line) (findings []checks.Finding) {
	for _, l := range all {
		if l.Finding != nil {
			findings = append(findings, *l.Finding)
		}
	}
	return findings
}

// once is the content of a file of the run: what is in the archive, or else what is made and archived now.
func (r *run) once(ctx context.Context, name string, make func() ([]byte, error)) ([]byte, error) {
	data, err := r.Archive.Read(ctx, name, "")
	if err == nil || !errors.Is(err, cmek.ErrNotFound) {
		return data, err
	}
	if data, err = make(); err != nil {
		return nil, err
	}
	return data, r.Archive.PutIfAbsent(ctx, name, data)
}

// file notes a file of the run.
func (r *run) file(name string, data []byte) {
	r.tally.Files = append(r.tally.Files, report.File{Name: name, SHA256: digest(data), Bytes: len(data)})
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// save notes how far the run is.
func (r *run) save(ctx context.Context) (err error) {
	if r.state.Current.Tally, err = json.Marshal(r.tally); err != nil {
		return err
	}
	return r.Ledger.SaveRuns(ctx, r.state)
}

// timeline sets the rotations of a key against the re-encryptions.
func timeline(k checks.Key, declared checks.Declarations) report.Timeline {
	t := report.Timeline{Key: k.URI, CryptoperiodDays: declared.CryptoperiodDays(k.URI), Unread: k.Description.Unread}
	if t.Unread == "" {
		d := k.Description.Value
		for _, v := range d.Versions {
			t.Versions = append(t.Versions, report.TimelineVersion{Version: v.Version, Since: v.BecameCurrent})
		}
		t.Current = report.TimelineVersion{Version: d.Version, Since: d.RotatedAt}
		if t.Current.Since.IsZero() {
			t.Current.Since = k.FirstSeen.Value
		}
	}
	for _, u := range k.Uses.Value {
		if checks.InForce(u.Status) {
			t.Regions = append(t.Regions, report.TimelineRegion{Cluster: u.ClusterID, Name: u.ClusterName, Region: u.Region, Version: u.Done, At: u.DoneAt, Adopted: u.Adopted})
		}
	}
	return t
}
