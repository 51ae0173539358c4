package checks

import (
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
)

// detection: changes are noticed, and uses are on record.
var detection = []Check{
	{
		ID: "CMEK-25", Title: "Detection wired and proved live",
		Clause:     "keyturn's detection is complete and enabled, its dead-letter queues are empty, and a test event came through lately.",
		Severities: []alert.Severity{alert.High}, Subject: AccountSubject,
		Needs: []Need{needWatch, needHeartbeat},
		AWS:   Rule{judge: judgeWatch(PartRule, PartAlarm), fix: awsFixWatch},
		GCP:   Rule{judge: judgeWatch(PartSink, PartSubscription, PartAlarm), fix: gcpFixWatch},
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
		for _, kind := range kinds {
			if !slices.ContainsFunc(watch.Parts, func(p Part) bool { return p.Kind == kind }) {
				found.add(alert.High, "there is no %s", kind)
			}
		}
		for _, part := range watch.Parts {
			if !part.Healthy {
				found.add(alert.High, "%s %s is disabled or has lost a target", part.Kind, clip(part.Name))
			}
		}
		if watch.DeadLetters > 0 {
			found.add(alert.High, "%d messages are in dead-letter queues", watch.DeadLetters)
		}
		limit := time.Duration(s.declared.Thresholds.HeartbeatMinutes) * time.Minute
		switch {
		case heartbeat.IsZero():
			found.add(alert.High, "no test event ever came through")
		case s.now.Sub(heartbeat) > limit:
			found.add(alert.High, "the last test event came through on %s, more than %s ago", at(heartbeat), span(limit))
		}
		return found.verdict("all parts are enabled, no dead letters, last test event on %s", at(heartbeat))
	}
}

func awsFixWatch(s *scope, p *plan) {
	for _, part := range s.account.Watch.Value.Parts {
		if part.Kind == PartRule && !part.Healthy {
			p.run("aws events enable-rule", nil, "region", s.account.Location, "name", part.Name)
		}
	}
	p.say("Deploy keyturn again in account " + clip(s.account.ID) + " and Region " + clip(s.account.Location) + ": that restores rules, targets and alarms. See the runbook for dead letters.")
}

func gcpFixWatch(s *scope, p *plan) {
	p.say("Apply keyturn's Terraform module again in project " + clip(s.account.ID) + ": that restores the sink, the subscriptions and the alarms. See the runbook for dead letters.")
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

// gcpLogged takes the configurations of allServices and of Cloud KMS together, on all levels: what is on in one of them is on, and who is
// exempted in one of them is exempted (google.iam.v1.AuditConfig).
func gcpLogged(s *scope) verdict {
	on := ""
	var exempted []string
	for _, c := range s.account.AuditConfigs.Value {
		if (c.Service == "cloudkms.googleapis.com" || c.Service == "allServices") && c.LogType == "DATA_READ" {
			on = c.Service
			exempted = append(exempted, c.Exempted...)
		}
	}
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
