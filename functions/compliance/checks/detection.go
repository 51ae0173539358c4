package checks

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
)

// detection: changes are noticed, and uses are on record.
var detection = []Check{
	{
		ID: "CMEK-25", Title: "Detection wired and proved live",
		Clause:     "keyturn's detection is complete, enabled and as it was deployed, its dead-letter queues are empty, and a heartbeat came through lately.",
		Severities: []alert.Severity{alert.High}, Subject: AccountSubject,
		Needs: []Need{needWatch, needHeartbeat},
		AWS:   Rule{judge: judgeWatch(PartRule), fix: awsFixWatch},
		GCP:   Rule{judge: judgeWatch(PartSink, PartSubscription), fix: gcpFixWatch},
		Citations: slices.Concat(cisAWSMonitor, cite(nist, nistRev, byProwler, "SI-4"), cite(pci, pciVersion, byProwler, "10.4.1"), cite(soc2, socVersion, byProwler, "CC7.2"),
			cite(iso, isoVersion, byProwler, "A.8.15", "A.8.16"), cite(ccc, cccVersion, byFINOS, "CCC.KeyMgmt.CN01"), cite(nist, nistRev, byFINOS, "IR-5")),
		Mirrors: []string{},
	},
	{
		ID: "CMEK-26", Title: "Uses of keys are logged",
		Clause:     "Changes and uses of keys are recorded: by a trail that includes KMS, or by Data Access logs of Cloud KMS.",
		Severities: []alert.Severity{alert.High}, Subject: AccountSubject,
		AWS:       Rule{Needs: []Need{needTrails}, judge: awsLogged, fix: awsFixLogged},
		GCP:       Rule{Needs: []Need{needAuditConfigs}, judge: gcpLogged, fix: gcpFixLogged},
		Citations: slices.Concat(cite(iso, isoVersion, byProwler, "A.8.15"), cite(ccc, cccVersion, byFINOS, "CCC.Core.CN04")),
		Mirrors:   []string{},
	},
}

func judgeWatch(kinds ...PartKind) func(*scope) verdict {
	return func(s *scope) verdict {
		watch, heartbeat := s.account.Watch.Value, s.account.Heartbeat.Value
		var found problems
		if watch.Unwatched {
			return fail("the deployment does not watch it")
		}
		for _, kind := range kinds {
			if !slices.ContainsFunc(watch.Parts, func(p Part) bool { return p.Kind == kind }) {
				found.add(alert.High, "there is no %s", kind)
			}
		}
		for _, part := range watch.Parts {
			if !part.Healthy {
				found.add(alert.High, "%s %s %s", part.Kind, clip(part.Name), clip(cmp.Or(part.Why, "is not as it was deployed")))
			}
		}
		if watch.DeadLetters > 0 {
			found.add(alert.High, "%d messages are in dead-letter queues", watch.DeadLetters)
		}
		limit := time.Duration(s.declared.Thresholds.HeartbeatMinutes) * time.Minute
		from := ""
		if heartbeat.From != "" {
			from = " of " + clip(heartbeat.From)
		}
		switch {
		case heartbeat.None:
			found.add(alert.High, "no heartbeat is sent that proves it")
		case heartbeat.At.IsZero():
			found.add(alert.High, "no heartbeat%s ever came through", from)
		case s.future(heartbeat.At):
			found.cannotTell("when a heartbeat%s came through: the last one says that it is of %s, which is in the future", from, at(heartbeat.At))
		case s.now.Sub(heartbeat.At) > limit:
			found.add(alert.High, "the last heartbeat%s is of %s, more than %s ago", from, at(heartbeat.At), span(limit))
		}
		return found.verdict("%d parts are as they were deployed, no dead letters, last heartbeat%s on %s", len(watch.Parts), from, at(heartbeat.At))
	}
}

func awsFixWatch(s *scope, p *plan) {
	if s.account.Watch.Value.Unwatched {
		p.say("In keyturn.yaml, add the keys that clusters use in account " + clip(s.account.ID) + " and Region " + clip(s.account.Location) + " to keys of that account under accounts, and deploy.")
		return
	}
	for _, part := range s.account.Watch.Value.Parts {
		switch {
		case part.Kind != PartRule || part.Healthy || !part.Disabled:
		case part.Bus == "":
			p.run("aws events enable-rule", nil, "region", part.Region, "name", part.Name)
		default:
			p.run("aws events enable-rule", nil, "region", part.Region, "event-bus-name", part.Bus, "name", part.Name)
		}
	}
	if s.account.Heartbeat.Value.None {
		p.say("Send a heartbeat: in keyturn.yaml, write heartbeat: " + clip(s.account.Location) + " under account " + clip(s.account.ID) + ", and deploy.")
	}
	p.say("If more is wrong, deploy keyturn again in account " + clip(s.account.ID) + " and Region " + clip(s.account.Location) +
		": that restores rules and targets. The runbook of the alarms heartbeat and dead-letters has the rest.")
}

func gcpFixWatch(s *scope, p *plan) {
	if s.account.Watch.Value.Unwatched {
		p.say("Add project " + clip(s.account.ID) + " to watched_projects of keyturn's Terraform module, or watch the folder or the organization above it, and apply.")
		return
	}
	if s.account.Heartbeat.Value.None {
		p.say("Send a heartbeat: add project " + clip(s.account.ID) + " with a location of Cloud KMS to heartbeats of keyturn's Terraform module.")
	}
	p.say("Apply keyturn's Terraform module: that restores the sinks and the subscription that project " + clip(s.account.ID) +
		" needs. The runbook of the alarms heartbeat and dead-letters has the rest.")
}

func awsLogged(s *scope) verdict {
	var found problems
	writes, reads := "", ""
	for _, t := range s.account.Trails.Value {
		if t.Writes == Yes {
			writes = t.Name
		}
		if t.Reads == Yes {
			reads = t.Name
		}
		switch {
		case t.Writes == Yes && t.Reads == Yes:
			return pass("trail %s records changes and uses of keys", clip(t.Name))
		case t.Writes != No && t.Reads != No:
			found.cannotTell("what trail %s records: %s", clip(t.Name), clip(t.Why))
		default:
			found.lines = append(found.lines, strings.TrimSuffix("trail "+clip(t.Name)+" does not record both changes and uses of keys: "+clip(t.Why), ": "))
		}
	}
	switch {
	case writes != "" && reads != "":
		return pass("trail %s records changes of keys, and %s uses of them", clip(writes), clip(reads))
	case len(found.unclear) > 0:
		return unknown("%s", sentences(found.unclear))
	case len(found.lines) == 0:
		return fail("no trail is seen in the Region")
	}
	return fail("%s", sentences(found.lines))
}

func awsFixLogged(s *scope, p *plan) {
	trails := s.account.Trails.Value
	if len(trails) == 0 {
		p.say("Create a trail for all Regions that records all management events, reads among them:")
		p.run("aws cloudtrail create-trail", nil, "region", s.account.Location, "name", "keyturn", "s3-bucket-name", "")
		p.steps[len(p.steps)-1] += " --is-multi-region-trail"
		p.run("aws cloudtrail start-logging", nil, "region", s.account.Location, "name", "keyturn")
		return
	}
	p.say("Let this trail or another one record all management events, reads among them, and not exclude kms.amazonaws.com. New selectors replace all that there are, so change what it has:")
	p.run("aws cloudtrail get-event-selectors", nil, "region", s.account.Location, "trail-name", trails[0].Name)
	p.run("aws cloudtrail start-logging", nil, "region", s.account.Location, "name", trails[0].Name)
}

// LogsOfUses are for which service the configurations of a project, and of what is above it, switch on the Data Access logs that have the
// uses of keys (DATA_READ), "" for none, and who is exempted. Those of allServices and of Cloud KMS count together, on all levels: what is on
// in one of them is on, and who is exempted in one of them is exempted (google.iam.v1.AuditConfig).
func LogsOfUses(configs []AuditConfig) (on string, exempted []string) {
	for _, c := range configs {
		if (c.Service == "cloudkms.googleapis.com" || c.Service == "allServices") && c.LogType == "DATA_READ" {
			on = c.Service
			exempted = append(exempted, c.Exempted...)
		}
	}
	return on, exempted
}

func gcpLogged(s *scope) verdict {
	on, exempted := LogsOfUses(s.account.AuditConfigs.Value)
	switch {
	case on == "":
		return fail("Data Access logs of Cloud KMS (DATA_READ) are off")
	case len(exempted) > 0:
		return fail("Data Access logs of Cloud KMS leave out %s", clip(sentences(exempted)))
	}
	return pass("Data Access logs of %s record DATA_READ", on)
}

func gcpFixLogged(s *scope, p *plan) {
	p.run("gcloud projects get-iam-policy", []string{s.account.ID}, "format", "json")
	p.steps[len(p.steps)-1] += " > " + policyFile
	p.say(`In ` + policyFile + `, add to auditConfigs {"service":"cloudkms.googleapis.com","auditLogConfigs":[{"logType":"DATA_READ"},{"logType":"ADMIN_READ"}]}, without exempted members.`)
	p.run("gcloud projects set-iam-policy", []string{s.account.ID, policyFile})
}
