package compliance

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/cmek"
)

const fromUses = "Data Access logs of Cloud KMS"

// usedOnGoogle is when a key that is to go was used last. Google Cloud has no call that tells it: key usage tracking knows only resources of
// the own organization, which clusters are not among. So it takes the log of uses, with all that would keep one out of it.
func (g *gatherer) usedOnGoogle(ctx context.Context, k *checks.Key) checks.Fact[cmek.KeyUsage] {
	retired := slices.ContainsFunc(g.Declared.Keys, func(d checks.KeyDeclaration) bool { return d.Retired && d.Key.Canonical() == k.URI.Canonical() })
	inForce := slices.ContainsFunc(k.Uses.Value, func(u checks.Use) bool { return checks.InForce(u.Status) })
	if k.Description.Unread == "" && (inForce || !retired && !g.retiring && k.Description.Value.State != cmek.KeyDeletionScheduled) {
		return checks.Known(cmek.KeyUsage{}, time.Now(), "not needed: the key is not to go, or a cluster uses it")
	}
	if g.Google.Log == nil || g.Google.Sinks == nil || g.Ledger == nil {
		return notRead[cmek.KeyUsage](fromUses, notHere)
	}
	project := k.URI.Account()
	configs := g.auditConfigs(ctx, "projects/"+project)
	if configs.Unread != "" {
		return checks.Fact[cmek.KeyUsage]{Reading: configs.Reading}
	}
	if !recording(configs.Value) {
		return notRead[cmek.KeyUsage](fromUses, "Data Access logs of Cloud KMS are off or leave somebody out (CMEK-26), so that nobody can tell")
	}
	retention, err := g.Google.Sinks.UsesKept(ctx, "projects/"+project)
	if err != nil {
		return read(g, cmek.KeyUsage{}, err, fromUses, "")
	}
	recorded, err := g.Ledger.Recorded(ctx, project)
	if err != nil {
		return notRead[cmek.KeyUsage](fromLedger, err.Error())
	}
	now := time.Now()
	usage := cmek.KeyUsage{Tracked: recorded.From(now)}
	if usage.Tracked.IsZero() {
		return notRead[cmek.KeyUsage](fromUses, "no scheduled run has seen lately that uses are recorded")
	}
	if kept := now.Add(-retention); kept.After(usage.Tracked) {
		usage.Tracked = kept
	}
	// What is older proves nothing by its absence, and something if it is there.
	watched := now.Add(-time.Duration(g.Declared.Thresholds.WithDefaults().WatchDays) * 24 * time.Hour)
	since := watched
	if usage.Tracked.Before(since) {
		since = usage.Tracked
	}
	uses := g.loggedUses(ctx, g.Google.Log, fromUses, k.URI, since)
	switch {
	case uses.Unread != "":
		return checks.Fact[cmek.KeyUsage]{Reading: uses.Reading}
	case uses.Value.Cut && (len(uses.Value.Uses) == 0 || uses.Value.Uses[0].At.Before(watched)):
		return notRead[cmek.KeyUsage](fromUses, "some records of uses could not be read")
	case len(uses.Value.Uses) > 0:
		last := uses.Value.Uses[0]
		usage.At, usage.Operation, usage.Event = last.At, last.Operation, last.Event
	}
	return checks.Known(usage, uses.ReadAt, uses.Source)
}

// recording reports whether uses of keys are recorded, whoever makes them.
func recording(configs []checks.AuditConfig) bool {
	on, exempted := checks.LogsOfUses(configs)
	return on != "" && len(exempted) == 0
}

// noteRecorded notes whether a project records uses, if that was read. Only scheduled runs do: each sees what the one before saw.
func (g *gatherer) noteRecorded(ctx context.Context, project string, configs checks.Fact[[]checks.AuditConfig]) {
	if !g.notes || configs.Unread != "" || g.recorded[project] {
		return
	}
	if err := g.Ledger.NoteRecorded(ctx, project, recording(configs.Value), time.Now().UTC()); err != nil {
		g.Log.Warn("not noted whether uses of keys are recorded", "project", project, "error", strings.TrimSpace(err.Error()))
		return
	}
	g.recorded[project] = true
}
