package deployment

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/cmek"
)

// Published is what a hub says of itself, for commands that find their deployment by name: the JSON of one parameter in
// Systems Manager. It holds no secrets, and must stay below [PublishedRoom].
type Published struct {
	// Format changes when an older program would misunderstand the rest. Fields that an older program need not know do not change it.
	Format int `json:"format"`
	// Version is what the deployment was made from: a tag, or Go's name of a commit.
	Version string `json:"version"`

	Name    string `json:"name"`
	Account string `json:"account"`
	Region  string `json:"region"`
	Mode    string `json:"mode"`

	OrganizationID string `json:"organization_id"`
	// Server is the base URL of the Cloud API; "" for the public one.
	Server string `json:"server,omitempty"`

	// Ledger and Archive are locations, each with its Region.
	Ledger          string `json:"ledger"`
	Archive         string `json:"archive"`
	AlertsTopic     string `json:"alerts_topic"`
	OperationsTopic string `json:"operations_topic"`
	APIKeySecret    string `json:"api_key_secret"`

	// ReaderRole is the role to assume for reading keys, with {account} for the key's account.
	ReaderRole string `json:"reader_role"`
	// ReaderExternalID goes with ReaderRole; "" if its trust policy asks for none.
	ReaderExternalID string `json:"reader_external_id,omitempty"`

	// Functions are the names of the functions without the deployment's name and a hyphen before them.
	Functions []string `json:"functions"`
	// Settings are the variables that keyturn.yaml sets for rotation, which decides what "keyturn plan" shows.
	Settings map[string]string `json:"settings,omitempty"`

	// Watched are the accounts and Regions whose changes of keys are forwarded to the hub, each once. nil if they are not published: by a
	// version that did not, or because they are too many for the parameter.
	Watched []WatchedPlaces `json:"watched,omitempty"`
}

// WatchedPlaces are accounts that are watched in the same Regions.
type WatchedPlaces struct {
	Accounts []string `json:"accounts"`
	Regions  []string `json:"regions"`
}

// ErrWatchedUnknown is that a deployment does not publish what it watches.
var ErrWatchedUnknown = errors.New("the deployment does not publish what it watches: it was made by a version that did not, or with too many accounts " +
	"for its parameter; look for the key's account and Region in keyturn.yaml")

// Unwatched says why changes of the key are not forwarded to the hub, and what to do; "" if they are. The error, which is [ErrWatchedUnknown],
// says that it cannot be told.
func (p Published) Unwatched(key cmek.KeyURI) (why string, err error) {
	account, region := key.Account(), key.Location()
	if key.Type() != cmek.AWSKMS {
		return fmt.Sprintf("deployment %s is on AWS and watches keys of AWS KMS only; use the deployment on the key's cloud", p.Name), nil
	}
	if len(p.Watched) == 0 {
		return "", ErrWatchedUnknown
	}
	var regions []string
	for _, w := range p.Watched {
		if slices.Contains(w.Accounts, account) {
			regions = append(regions, w.Regions...)
		}
	}
	switch {
	case slices.Contains(regions, region):
		return "", nil
	case len(regions) == 0:
		return fmt.Sprintf("deployment %s does not watch account %s; add the account with the key to accounts in keyturn.yaml, and deploy", p.Name, account), nil
	}
	return fmt.Sprintf("deployment %s watches account %s in %s, not in %s; add the key to the account's keys in keyturn.yaml, and deploy",
		p.Name, account, strings.Join(regions, ", "), region), nil
}

// PublishedFormat is the format that this program writes, and the only one that it reads.
const PublishedFormat = 1

// PublishedRoom is how many bytes a parameter of the standard tier holds
// (docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html).
const PublishedRoom = 4096

// ParameterName is the name of the parameter in which a deployment of that name is published, in its hub's account and Region.
func ParameterName(deployment string) string { return "/keyturn/" + deployment }

// ParsePublished reads what [Published.JSON] wrote. A parameter of another format, of another deployment, or without what a command cannot do
// without, is an error.
func ParsePublished(name, text string) (Published, error) {
	var p Published
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return Published{}, fmt.Errorf("it holds no JSON that keyturn wrote")
	}
	switch {
	case p.Format > PublishedFormat:
		return Published{}, fmt.Errorf("it has format %d, and this keyturn knows %d; install the deployment's version%s", p.Format, PublishedFormat, strings.TrimRight(" "+p.Version, " "))
	case p.Format != PublishedFormat:
		return Published{}, fmt.Errorf("it has format %d, want %d", p.Format, PublishedFormat)
	case p.Name != name:
		return Published{}, fmt.Errorf("it is about the deployment %q", p.Name)
	}
	var missing []string
	for _, field := range []struct{ name, value string }{
		{"version", p.Version}, {"account", p.Account}, {"region", p.Region}, {"mode", p.Mode}, {"organization_id", p.OrganizationID}, {"ledger", p.Ledger},
		{"archive", p.Archive}, {"alerts_topic", p.AlertsTopic}, {"operations_topic", p.OperationsTopic}, {"reader_role", p.ReaderRole},
	} {
		if field.value == "" {
			missing = append(missing, field.name)
		}
	}
	if len(missing) > 0 {
		return Published{}, fmt.Errorf("it lacks %s", strings.Join(missing, ", "))
	}
	return p, nil
}

// JSON is the parameter's value.
func (p Published) JSON() string {
	data, err := json.Marshal(p)
	if err != nil {
		panic(err) // It is made of texts.
	}
	return string(data)
}

// Resources are what CloudFormation names when it makes a hub.
type Resources struct{ Table, Bucket, AlertsTopic, OperationsTopic, APIKeySecret string }

// ArchivePrefix is where in the bucket evidence and policies are.
const ArchivePrefix = "archive"

// Publish is what the hub says of itself. What is watched is left out if it does not fit.
func (d Deployment) Publish(r Resources) Published {
	longest := d.publish(d.longestResources())
	longest.Watched = d.watched()
	p := d.publish(r)
	if len(longest.JSON()) <= PublishedRoom {
		p.Watched = longest.Watched
	}
	return p
}

// watched are the accounts with their Regions, those with the same Regions together.
func (d Deployment) watched() (places []WatchedPlaces) {
	for _, a := range d.Accounts {
		regions := d.WatchedRegions(a)
		i := slices.IndexFunc(places, func(p WatchedPlaces) bool { return slices.Equal(p.Regions, regions) })
		if i < 0 {
			places = append(places, WatchedPlaces{Regions: regions})
			i = len(places) - 1
		}
		places[i].Accounts = append(places[i].Accounts, a.ID)
	}
	return places
}

func (d Deployment) publish(r Resources) Published {
	functions := []string{RotationEvent, RotationTick, AlertingEvent, AlertingTick, ComplianceTick}
	for _, c := range d.Channels {
		functions = append(functions, NotifyFunction(c))
	}
	slices.Sort(functions)
	return Published{
		Format: PublishedFormat, Version: d.MadeFrom(),
		Name: d.Name, Account: d.Hub.Account, Region: d.Hub.Region, Mode: d.Mode,
		OrganizationID: d.CockroachDB.OrganizationID, Server: d.CockroachDB.Server,
		Ledger:      "dynamodb://" + r.Table + "?region=" + d.Hub.Region,
		Archive:     "s3://" + r.Bucket + "/" + ArchivePrefix + "?region=" + d.Hub.Region,
		AlertsTopic: r.AlertsTopic, OperationsTopic: r.OperationsTopic, APIKeySecret: r.APIKeySecret,
		ReaderRole: d.RoleARN("{account}", "reader"),
		Functions:  functions, Settings: d.FunctionSettings(Rotation),
	}
}

// longestResources are as long as what CloudFormation names can be
// (a table 255, of which CloudFormation uses 255 at most; a bucket 63; docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html).
func (d Deployment) longestResources() Resources {
	long := func(n int) string { return strings.Repeat("x", n) }
	topic := "arn:aws:sns:" + d.Hub.Region + ":" + d.Hub.Account + ":" + d.Of("operations")
	return Resources{Table: long(255), Bucket: long(63), AlertsTopic: topic, OperationsTopic: topic,
		APIKeySecret: "arn:aws:secretsmanager:" + d.Hub.Region + ":" + d.Hub.Account + ":secret:" + d.Of("api-key") + "-123456"}
}

// Variables are the settings of the functions that the deployment gives a command, by their variables. The server is not among them: an
// API key is sent to no host that only a parameter names, which others may be allowed to write.
func (p Published) Variables() map[string]string {
	v := map[string]string{
		"KEYTURN_LEDGER": p.Ledger, "KEYTURN_ARCHIVE": p.Archive, "KEYTURN_ALERTS_TOPIC": p.AlertsTopic, "KEYTURN_OPERATIONS_TOPIC": p.OperationsTopic,
		"KEYTURN_ORGANIZATION_ID": p.OrganizationID, "KEYTURN_MODE": p.Mode,
	}
	if p.ReaderRole != "" {
		v["KEYTURN_READER_ROLE"] = p.ReaderRole
	}
	if p.ReaderExternalID != "" {
		v["KEYTURN_READER_EXTERNAL_ID"] = p.ReaderExternalID
	}
	for name, value := range p.Settings {
		if _, chosen := readers[name]; chosen {
			v[name] = value
		}
	}
	return v
}
