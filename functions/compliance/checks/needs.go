package checks

import "time"

// Need is a fact that checks rest on.
type Need struct {
	// Name is the fact's, as "key policy". From says where it is read, and with which permission.
	Name, From string
	// MaxAge is how old the reading may be.
	MaxAge time.Duration
	// OptIn: it is only needed where an audit credential is declared.
	OptIn bool

	// of are the readings of the fact for the subject, at least one.
	of func(*scope) []reading
	// lacks is what the fact should show and does not, if it was read; nil if nothing is known that it should.
	lacks func(*scope) string
}

// reading is a reading with the name of what was read, "" for the subject itself.
type reading struct {
	*Reading
	of string
}

// The ages that readings may have: what the sweep reads every 15 minutes, and what one run reads.
const (
	sweepAge = 20 * time.Minute
	runAge   = 2 * time.Hour
	// fleetAge is for what follows from all clusters at once, which is as old as the oldest of them: who uses a key, and who acts as a
	// principal. A sweep of 10,000 clusters takes 21 minutes at 8 requests a second, and a run goes on for longer: at 20 minutes all keys of such
	// a fleet were an ERROR at all times. What is checked of a cluster itself is as young as the sweep makes it, and a use that a cluster shows
	// and the inventory lacks is an ERROR whatever the age.
	fleetAge = runAge
	// clocks is how far two clocks may differ.
	clocks = 10 * time.Minute
)

// unread is why the fact does not count; "" if it does.
func (n Need) unread(r Reading, now time.Time) string {
	switch {
	case r.Unread != "":
		return "could not be read: " + clip(r.Unread)
	case r.ReadAt.IsZero():
		return "was not read"
	case r.ReadAt.After(now.Add(clocks)):
		return "is of " + at(r.ReadAt) + ", which is in the future"
	case now.Sub(r.ReadAt) > n.MaxAge:
		return "was last read on " + at(r.ReadAt) + ", more than " + span(n.MaxAge) + " ago"
	}
	return ""
}

// future reports whether a time that a fact has is one that no clock can show yet: a wrong one, of which nothing follows.
func (s *scope) future(t time.Time) bool { return t.After(s.now.Add(clocks)) }

func one(r *Reading) []reading { return []reading{{Reading: r}} }

func ofCluster(f func(*Cluster) *Reading) func(*scope) []reading {
	return func(s *scope) []reading { return one(f(s.cluster)) }
}

// ofKey reads the subject's key or, of a region, each key that protects its data.
func ofKey(f func(*Key) *Reading) func(*scope) []reading {
	return func(s *scope) (all []reading) {
		if s.key != nil {
			return one(f(s.key))
		}
		_, current := s.region()
		for _, info := range current {
			all = append(all, reading{f(s.keyOf(info.Spec.URI)), string(info.Spec.URI)})
		}
		return all
	}
}

func ofPrincipal(f func(*Principal) *Reading) func(*scope) []reading {
	return func(s *scope) []reading { return one(f(s.principal)) }
}

func ofAccount(f func(*Account) *Reading) func(*scope) []reading {
	return func(s *scope) []reading { return one(f(s.account)) }
}

// The needs.
var (
	needOrganization = Need{Name: "organization", From: "Cloud API GET /organization", MaxAge: 24 * time.Hour,
		of: func(s *scope) []reading { return one(&s.facts.Organization.Reading) }}

	needInfo = Need{Name: "cluster", From: "ledger, else Cloud API GET /clusters/{id} (Cluster Operator)", MaxAge: sweepAge,
		of: ofCluster(func(c *Cluster) *Reading { return &c.Info.Reading })}
	needCMEK = Need{Name: "CMEK of the cluster", From: "ledger, else Cloud API GET /clusters/{id}/cmek (Cluster Operator, or AUDITOR)", MaxAge: sweepAge,
		of: ofCluster(func(c *Cluster) *Reading { return &c.CMEK.Reading })}
	needDone = Need{Name: "re-encryptions of the cluster", From: "ledger", MaxAge: sweepAge,
		of: ofCluster(func(c *Cluster) *Reading { return &c.Done.Reading })}
	needRequests = Need{Name: "requests of keyturn", From: "ledger", MaxAge: sweepAge,
		of: ofCluster(func(c *Cluster) *Reading { return &c.Requests.Reading })}
	needBackups = Need{Name: "backups of the cluster", From: "Cloud API GET /clusters/{id}/backups and backups-config (Cluster Operator)", MaxAge: runAge,
		of: ofCluster(func(c *Cluster) *Reading { return &c.Backups.Reading })}
	needAudit = Need{Name: "audit log of the organization", From: "Cloud API GET /auditlogevents (Org Admin, or AUDITOR)", MaxAge: runAge,
		of: ofCluster(func(c *Cluster) *Reading { return &c.Audit.Reading })}
	needMoves = Need{Name: "orders that moved the cluster's regions", From: "ledger", MaxAge: sweepAge,
		of: ofCluster(func(c *Cluster) *Reading { return &c.Moves.Reading })}
	needPins = Need{Name: "pinned aliases of the cluster", From: "ledger; kms:DescribeKey on the keys that they name", MaxAge: runAge,
		of: ofCluster(func(c *Cluster) *Reading { return &c.Pins.Reading })}

	needDescription = Need{Name: "key", From: "kms:DescribeKey, kms:ListKeyRotations; cloudkms.cryptoKeys.get, cloudkms.cryptoKeyVersions.list", MaxAge: runAge,
		of: ofKey(func(k *Key) *Reading { return &k.Description.Reading })}
	needRotation = Need{Name: "automatic rotation of the key", From: "kms:GetKeyRotationStatus; cloudkms.cryptoKeys.get", MaxAge: runAge,
		of: ofKey(func(k *Key) *Reading { return &k.Rotation.Reading })}
	needFirstSeen = Need{Name: "key version as first seen", From: "ledger", MaxAge: sweepAge,
		of: ofKey(func(k *Key) *Reading { return &k.FirstSeen.Reading })}
	needUses = Need{Name: "uses of the key", From: "ledger (inventory by key)", MaxAge: fleetAge,
		of: ofKey(func(k *Key) *Reading { return &k.Uses.Reading }), lacks: (*scope).unlisted}
	needTies      = Need{Name: "what else ties the key to a cluster", From: "ledger", MaxAge: runAge, of: ofKey(func(k *Key) *Reading { return &k.Ties.Reading })}
	needRetention = Need{Name: "backup retention of the key's clusters", From: "Cloud API GET /clusters/{id}/backups-config (Cluster Operator)", MaxAge: runAge,
		of: ofKey(func(k *Key) *Reading { return &k.Retention.Reading })}
	needPolicy = Need{Name: "key policy", From: "ledger (noted policies), else kms:GetKeyPolicy", MaxAge: runAge,
		of: ofKey(func(k *Key) *Reading { return &k.Policy.Reading })}
	needReplicas = Need{Name: "key policies of the related keys", From: "kms:GetKeyPolicy in each Region", MaxAge: runAge,
		of: ofKey(func(k *Key) *Reading { return &k.Replicas.Reading })}
	needGrants = Need{Name: "grants on the key", From: "kms:ListGrants", MaxAge: runAge,
		of: ofKey(func(k *Key) *Reading { return &k.Grants.Reading })}
	needIAM = Need{Name: "IAM policies of the key", From: "cloudkms.cryptoKeys.getIamPolicy and those of the ring, the project and above", MaxAge: runAge,
		of: ofKey(func(k *Key) *Reading { return &k.IAM.Reading })}
	needLastUse = Need{Name: "last use of the key", From: "kms:GetKeyLastUsage; logging.privateLogEntries.list on Data Access logs, logging.sinks.get, logging.buckets.get", MaxAge: runAge,
		of: ofKey(func(k *Key) *Reading { return &k.LastUse.Reading })}

	needAssumers = Need{Name: "clusters of the principal", From: "ledger (inventory by principal)", MaxAge: fleetAge,
		of: ofPrincipal(func(p *Principal) *Reading { return &p.Clusters.Reading }), lacks: (*scope).unassumed}
	needTrust = Need{Name: "trust policy", From: "ledger (noted policies), else iam:GetRole", MaxAge: runAge,
		of: ofPrincipal(func(p *Principal) *Reading { return &p.Trust.Reading })}
	needPolicies = Need{Name: "policies of the role", From: "ledger (noted policies), else iam:ListRolePolicies, iam:GetRolePolicy, iam:ListAttachedRolePolicies, " +
		"iam:GetPolicy, iam:GetPolicyVersion", MaxAge: runAge, of: ofPrincipal(func(p *Principal) *Reading { return &p.Policies.Reading })}
	needAccount = Need{Name: "service account", From: "iam.serviceAccounts.get", MaxAge: runAge,
		of: ofPrincipal(func(p *Principal) *Reading { return &p.Account.Reading })}
	needAccountIAM = Need{Name: "IAM policies of the service account", From: "iam.serviceAccounts.getIamPolicy and those of the project and above, with what bounds their principals", MaxAge: runAge,
		of: ofPrincipal(func(p *Principal) *Reading { return &p.IAM.Reading })}

	needWatch = Need{Name: "detection", From: "events:DescribeRule, events:ListTargetsByRule, sqs:GetQueueAttributes; " +
		"logging.sinks.get, pubsub.subscriptions.get", MaxAge: runAge, of: ofAccount(func(a *Account) *Reading { return &a.Watch.Reading })}
	needHeartbeat = Need{Name: "heartbeat", From: "ledger", MaxAge: sweepAge,
		of: ofAccount(func(a *Account) *Reading { return &a.Heartbeat.Reading })}
	needTrails = Need{Name: "trails", From: "cloudtrail:DescribeTrails, cloudtrail:GetTrailStatus, cloudtrail:GetEventSelectors", MaxAge: runAge,
		of: ofAccount(func(a *Account) *Reading { return &a.Trails.Reading })}
	needAuditConfigs = Need{Name: "audit configuration", From: "resourcemanager.projects.getIamPolicy", MaxAge: runAge,
		of: ofAccount(func(a *Account) *Reading { return &a.AuditConfigs.Reading })}

	needCreated = Need{Name: "age of the credential", From: "secretsmanager:ListSecretVersionIds; secretmanager.versions.get", MaxAge: runAge,
		of: func(s *scope) []reading { return one(&s.credential.Created.Reading) }}
	needRoles = Need{Name: "roles of the credential", From: "Cloud API GET /api-keys/{id} and /service-accounts/{id} (Org Admin)", MaxAge: runAge, OptIn: true,
		of: func(s *scope) []reading { return one(&s.credential.Roles.Reading) }}
)
