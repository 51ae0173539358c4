package deployment

// Target is a part of the hub that a person's policy is about.
type Target string

// The targets of [Grant].
const (
	OnParameter Target = "parameter"
	OnLedger    Target = "ledger"
	OnDueIndex  Target = "due index"
	OnReaders   Target = "reader roles"
	OnTopics    Target = "topics"
	OnArchive   Target = "archive"
	OnRuns      Target = "compliance runs"
	// OnRunList is the archive's bucket, of which the names of the runs alone may be listed.
	OnRunList Target = "list of compliance runs"
	// OnArchiveList is the archive's bucket, of which the names of all that keyturn archived may be listed.
	OnArchiveList Target = "list of the archive"
)

// Grant lets a person do something with a part of the hub. What is written of the ledger is limited to ledger.OperatorItems.
type Grant struct {
	Action string
	On     Target
}

// ViewerGrants are what "keyturn status", "alerts", "plan" and the reading half of "doctor" call.
func ViewerGrants() []Grant {
	return []Grant{
		{"ssm:GetParameter", OnParameter},
		{"dynamodb:BatchGetItem", OnLedger},
		{"dynamodb:GetItem", OnLedger},
		{"dynamodb:Query", OnLedger},
		{"dynamodb:Query", OnDueIndex},
		{"sts:AssumeRole", OnReaders},
		{"sns:ListSubscriptionsByTopic", OnTopics},
	}
}

// OperatorGrants are what every command calls: "follow" and "replay" send alerts and keep evidence, the others write the ledger.
func OperatorGrants() []Grant {
	return append(ViewerGrants(),
		Grant{"dynamodb:PutItem", OnLedger},
		Grant{"sns:Publish", OnTopics},
		Grant{"s3:GetObject", OnArchive},
		Grant{"s3:PutObject", OnArchive},
		Grant{"s3:GetObjectVersion", OnArchive},
		Grant{"s3:ListBucketVersions", OnArchiveList},
	)
}

// AuditorGrants are what "keyturn report" calls: it reads the archived compliance runs, and nothing else.
func AuditorGrants() []Grant {
	return []Grant{
		{"s3:GetObject", OnRuns},
		{"s3:ListBucketVersions", OnRunList},
	}
}

// Names of the policies, after the deployment's name.
const (
	ViewerPolicy   = "viewer"
	OperatorPolicy = "operator"
	AuditorPolicy  = "auditor"
)
