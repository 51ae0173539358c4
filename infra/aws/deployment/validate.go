package deployment

import (
	"fmt"
	"net/mail"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/functions/notify"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/config"
)

var (
	namePattern    = regexp.MustCompile(`^[a-z][a-z0-9-]{1,19}$`)
	accountPattern = regexp.MustCompile(`^[0-9]{12}$`)
	rolePattern    = regexp.MustCompile(`^arn:aws:iam::([0-9]{12}):role/[\w+=,.@/-]+$`)
	uuidPattern    = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	tagPattern     = regexp.MustCompile(`^[\pL\pZ\pN_.:/=+\-@]+$`)
	phonePattern   = regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`)
)

// validate reports everything that is wrong at once, each with its place and what to write instead.
func (d Deployment) validate() Problems {
	v := &validation{regions: slices.Concat(amazon.Regions(), d.NewRegions)}
	v.name("name", d.Name)
	v.check(d.Name != "default", "name", d.Name, "write another name: it is that of AWS' own event bus")
	v.account("hub.account", d.Hub.Account)
	v.region("hub.region", d.Hub.Region)
	v.check(uuidPattern.MatchString(d.CockroachDB.OrganizationID), "cockroachdb.organization_id", d.CockroachDB.OrganizationID,
		"write the organization's id, a UUID in lower case, as GET /api/v1/organization of the Cloud API shows it")
	if d.CockroachDB.Server != "" {
		v.https("cockroachdb.server", d.CockroachDB.Server)
	}
	v.oneOf("mode", d.Mode, Observe, Follow)
	v.check(len(d.Accounts) > 0, "accounts", "", "list at least one account with the keys that clusters use")
	for i, a := range d.Accounts {
		if a.implied {
			continue
		}
		v.accountEntry(fmt.Sprintf("accounts[%d]", i), a, d, d.Accounts[:i])
	}
	v.check(len(d.Accounts) == 0 || len(d.Keys()) > 0 || len(d.CMEKKeys) > 0, "accounts", "",
		"list the keys of at least one account, or cmek_keys to be created")
	v.subscribers("alerts", d.Alerts)
	v.subscribers("operations", d.Operations)
	for _, audience := range []string{"alerts", "operations"} {
		// A function's variables have 4 KB together (docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html).
		v.check(len(d.Subscriptions(audience)) <= mostSubscriptions, audience, fmt.Sprintf("%d addresses", len(d.subscribersOf(audience).Email)+len(d.subscribersOf(audience).SMS)),
			"name fewer addresses, such as one of a distribution list: with the channels they take too many characters")
	}
	for i, c := range d.Channels {
		v.channel(fmt.Sprintf("channels[%d]", i), c, d.Channels[:i])
	}
	kept := *d.Archive.RetentionDays
	v.check(kept >= 1 && kept <= 36500, "archive.retention_days", strconv.Itoa(kept), "write 1 to 36500 days")
	v.oneOf("archive.lock", d.Archive.Lock, LockGovernance, LockCompliance)
	v.check(slices.Contains(logDays, d.LogDays), "log_days", strconv.Itoa(d.LogDays), "CloudWatch Logs knows these: "+strings.Trim(fmt.Sprint(logDays), "[]"))
	for i, role := range d.Operators {
		field := fmt.Sprintf("operators[%d]", i)
		v.check(!slices.Contains(d.Operators[:i], role), field, role, "list each role once")
		arn := rolePattern.FindStringSubmatch(role)
		v.check(arn != nil && arn[1] == d.Hub.Account, field, role, "write the ARN of a role in the hub's account: arn:aws:iam::"+d.Hub.Account+":role/NAME")
	}
	v.settings(d.Settings)
	for i, region := range d.NewRegions {
		field := fmt.Sprintf("new_regions[%d]", i)
		v.check(amazon.IsRegion(region), field, region, "write a Region's code, such as us-east-1, of the standard partition of AWS")
		v.check(!slices.Contains(amazon.Regions(), region), field, region, "leave it out: keyturn knows this Region")
	}
	v.tags(d.Tags)
	v.compliance(d.Compliance)
	for i, k := range d.CMEKKeys {
		v.cmekKey(fmt.Sprintf("cmek_keys[%d]", i), k, d, d.CMEKKeys[:i])
	}
	if len(v.problems) == 0 { // else there is nothing to count
		v.rules(d)
		v.published(d)
	}
	return v.problems
}

// rules refuses what does not fit on a default bus.
func (v *validation) rules(d Deployment) {
	for i, a := range d.Accounts {
		for _, region := range d.WatchedRegions(a) {
			// docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html
			most := 300
			if region == "af-south-1" || region == "eu-south-1" {
				most = 100
			}
			n := len(d.Rules(a, region))
			v.check(n <= most, fmt.Sprintf("accounts[%d]", i), fmt.Sprintf("%s with %d keys in %s", a.ID, len(d.Scope(a, region).Keys), region),
				fmt.Sprintf("%d event rules would be needed, and EventBridge takes %d on a bus; divide the clusters between two deployments", n, most))
		}
	}
}

// published refuses what commands could not be told.
func (v *validation) published(d Deployment) {
	n := len(d.Publish(d.longestResources()).JSON())
	v.check(n <= PublishedRoom, "channels", strconv.Itoa(len(d.Channels))+" channels", fmt.Sprintf(
		"their names and the settings take %d bytes of a parameter that holds %d; write fewer or shorter ones", n, PublishedRoom))
}

// mostSubscriptions is the longest list of a topic's subscriptions, in characters.
const mostSubscriptions = 1300

// mostKeys and mostRoles fit into the inline policy and the managed policies of one role, with ARNs of the usual length.
const (
	mostKeys  = 600
	mostRoles = 300
	// mostAliases have little room beside them.
	mostAliases = 20
)

// logDays are the retention periods of CloudWatch Logs (docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html).
var logDays = []int{1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653}

// validation collects problems.
type validation struct {
	problems Problems
	// regions are those that are known.
	regions []string
}

// check adds a problem unless ok: the field's place, its value, and how to fix it.
func (v *validation) check(ok bool, field, value, fix string) {
	switch {
	case ok:
	case value == "":
		v.add(field, fmt.Sprintf("%s is missing: %s", field, fix))
	default:
		v.add(field, fmt.Sprintf("%s is %q: %s", field, value, fix))
	}
}

func (v *validation) add(field, message string) {
	v.problems = append(v.problems, Problem{Field: field, Message: message})
}

func (v *validation) oneOf(field, value string, words ...string) {
	v.check(slices.Contains(words, value), field, value, "write "+strings.Join(words, " or "))
}

func (v *validation) name(field, name string) {
	v.check(namePattern.MatchString(name) && !strings.HasSuffix(name, "-"), field, name,
		"write 2 to 20 lower-case letters, digits and hyphens, a letter first")
	for _, suffix := range []string{"-dead", "-failed"} {
		v.check(!strings.HasSuffix(name, suffix), field, name, "write a name that does not end in "+suffix+", which names a queue")
	}
}

func (v *validation) account(field, id string) {
	v.check(accountPattern.MatchString(id), field, id, `write the account's 12 digits, in quotes: "111122223333"`)
}

func (v *validation) region(field, region string) { v.regionOf(field, region, region) }

// regionOf checks the Region of a value that holds more than that.
func (v *validation) regionOf(field, value, region string) {
	fix := "write a Region's code, such as us-east-1"
	if near := config.Near(strings.ToLower(region), v.regions); near != "" {
		fix = "did you mean " + near + "?"
	}
	if amazon.IsRegion(region) {
		fix += " A Region that is newer than this version of keyturn goes under new_regions, too"
	}
	if region != value && region != "" {
		fix = "its Region is " + strconv.Quote(region) + "; " + fix
	}
	v.check(slices.Contains(v.regions, region), field, value, fix)
}

func (v *validation) https(field, text string) {
	u, err := url.Parse(text)
	v.check(err == nil && u.Scheme == "https" && u.Host != "" && u.User == nil, field, text, "write an https:// URL without a user in it")
}

func (v *validation) accountEntry(place string, a Account, d Deployment, before []Account) {
	v.account(place+".id", a.ID)
	v.check(!slices.ContainsFunc(before, func(b Account) bool { return b.ID == a.ID }), place+".id", a.ID, "list each account once")
	for i, key := range a.Keys {
		v.key(fmt.Sprintf("%s.keys[%d]", place, i), key, a.ID)
		v.check(!slices.Contains(a.Keys[:i], key), fmt.Sprintf("%s.keys[%d]", place, i), string(key), "list each key once")
	}
	for i, alias := range a.Aliases {
		v.alias(fmt.Sprintf("%s.aliases[%d]", place, i), alias, a.ID)
		v.check(!slices.Contains(a.Aliases[:i], alias), fmt.Sprintf("%s.aliases[%d]", place, i), string(alias), "list each alias once")
	}
	v.check(len(a.Aliases) <= mostAliases, place+".aliases", fmt.Sprintf("%d aliases", len(a.Aliases)), fmt.Sprintf("a role can name %d of them; divide the account", mostAliases))
	// Their number is what fits into the policies of one role.
	v.check(len(a.Keys) <= mostKeys, place+".keys", fmt.Sprintf("%d keys", len(a.Keys)), fmt.Sprintf("a role can name %d of them; divide the account", mostKeys))
	v.check(len(a.Roles) <= mostRoles, place+".roles", fmt.Sprintf("%d roles", len(a.Roles)), fmt.Sprintf("a role can name %d of them; divide the account", mostRoles))
	for i, role := range a.Roles {
		field := fmt.Sprintf("%s.roles[%d]", place, i)
		v.check(!slices.Contains(a.Roles[:i], role), field, role, "list each role once")
		arn := rolePattern.FindStringSubmatch(role)
		v.check(arn != nil, field, role, "write a role's ARN: arn:aws:iam::ACCOUNT:role/NAME")
		v.check(arn == nil || arn[1] == a.ID, field, role, "list the role under its own account")
	}
	for i, region := range a.Regions {
		v.region(fmt.Sprintf("%s.regions[%d]", place, i), region)
	}
	v.oneOf(place+".trail", a.Trail, TrailChecked, TrailAsserted)
	watched := d.WatchedRegions(a)
	v.check(a.Heartbeat == "" || slices.Contains(watched, a.Heartbeat), place+".heartbeat", a.Heartbeat, "write one of the Regions that are watched: "+strings.Join(watched, ", "))
	idle := len(a.Keys)+len(a.Aliases)+len(a.Roles)+len(a.Regions) == 0 && !a.Management && a.ID != d.Hub.Account &&
		!slices.ContainsFunc(d.CMEKKeys, func(k CMEKKey) bool { return k.Account == a.ID })
	v.check(!idle, place, a.ID, "list its keys or roles, or leave the account out: there is nothing to watch")
}

func (v *validation) key(field string, key cmek.KeyURI, account string) {
	_, err := cmek.ParseKeyURI(string(key))
	switch {
	case err != nil || key.Type() != cmek.AWSKMS || key.IsAlias() || !strings.HasPrefix(string(key), "arn:aws:"):
		v.check(false, field, string(key), "write a key's ARN, not an alias: arn:aws:kms:REGION:ACCOUNT:key/ID")
	case key.Account() != account:
		v.check(false, field, string(key), "list the key under its own account")
	}
	if err == nil {
		v.regionOf(field, string(key), key.Location())
	}
}

func (v *validation) alias(field string, alias cmek.KeyURI, account string) {
	_, err := cmek.ParseKeyURI(string(alias))
	switch {
	case err != nil || !alias.IsAlias() || alias.AWSManaged() || !strings.HasPrefix(string(alias), "arn:aws:"):
		v.check(false, field, string(alias), "write the ARN of an alias of your own: arn:aws:kms:REGION:ACCOUNT:alias/NAME")
	case alias.Account() != account:
		v.check(false, field, string(alias), "list the alias under its own account")
	}
	if err == nil {
		v.regionOf(field, string(alias), alias.Location())
	}
}

func (v *validation) subscribers(field string, s Subscribers) {
	v.check(len(s.Email)+len(s.SMS) > 0, field, "", "name at least one e-mail address or SMS number that reaches a person even when every channel fails")
	for i, address := range s.Email {
		parsed, err := mail.ParseAddress(address)
		v.check(err == nil && parsed.Address == address, fmt.Sprintf("%s.email[%d]", field, i), address, "write an e-mail address")
		v.check(!slices.Contains(s.Email[:i], address), fmt.Sprintf("%s.email[%d]", field, i), address, "list each address once")
	}
	for i, number := range s.SMS {
		v.check(phonePattern.MatchString(number), fmt.Sprintf("%s.sms[%d]", field, i), number, "write the number with its country: +15550100123")
		v.check(!slices.Contains(s.SMS[:i], number), fmt.Sprintf("%s.sms[%d]", field, i), number, "list each number once")
	}
}

func (v *validation) channel(place string, c Channel, before []Channel) {
	v.oneOf(place+".kind", c.Kind, string(notify.Slack), string(notify.PagerDuty), string(notify.Webhook))
	v.name(place+".name", c.Name)
	v.check(!slices.ContainsFunc(before, func(b Channel) bool { return b.Name == c.Name }), place+".name", c.Name, "give each channel a name of its own")
	switch kind := notify.Kind(c.Kind); {
	case kind == notify.Webhook || kind == notify.PagerDuty && c.URL != "":
		v.https(place+".url", c.URL)
	case kind == notify.Slack:
		v.check(c.URL == "", place+".url", "…", "leave it out: Slack's URL is the secret, to be stored after the deployment")
	}
	if c.MinSeverity != "" {
		v.oneOf(place+".min_severity", c.MinSeverity, "critical", "high", "medium", "low", "info")
	}
}

// ownSettings are the variables that follow from the deployment itself.
var ownSettings = []string{
	"KEYTURN_LEDGER", "KEYTURN_ARCHIVE", "KEYTURN_ALERTS_TOPIC", "KEYTURN_OPERATIONS_TOPIC", "KEYTURN_API_KEY_SECRET", "KEYTURN_MODE",
	"KEYTURN_READER_ROLE", "KEYTURN_REPAIR", "KEYTURN_REPAIR_ROLE", "KEYTURN_ORGANIZATION_ID", "KEYTURN_OWN_ROLES", "KEYTURN_OWN_RESOURCES",
	"KEYTURN_HEARTBEAT_ROLE", "KEYTURN_CHANNEL", "KEYTURN_CHANNEL_SECRET", "KEYTURN_CHANNEL_URL", "KEYTURN_MIN_SEVERITY",
	"KEYTURN_ALLOW_PRIVATE", "KEYTURN_ALLOW_LOOPBACK", "KEYTURN_VERSION", "KEYTURN_DECLARATIONS", "KEYTURN_DETECTION", "KEYTURN_ROTATION_API_KEY_SECRET", "KEYTURN_AUDIT_API_KEY_SECRET", "KEYTURN_ALERTS_SUBSCRIBERS", "KEYTURN_OPERATIONS_SUBSCRIBERS",
}

func (v *validation) settings(settings map[string]string) {
	known := Settings()
	for _, name := range sorted(settings) {
		switch {
		case slices.Contains(ownSettings, name):
			v.add("settings."+name, fmt.Sprintf("settings is %q: leave it out: it follows from the other fields", name))
		case !slices.Contains(known, name):
			v.add("settings."+name, fmt.Sprintf("settings is %q: write one of %s", name, strings.Join(known, ", ")))
		}
	}
	if level := strings.ToUpper(settings["KEYTURN_LOG_LEVEL"]); level != "" {
		// The alarms read lines of this level.
		v.check(level == "DEBUG" || level == "INFO", "settings.KEYTURN_LOG_LEVEL", settings["KEYTURN_LOG_LEVEL"], "write DEBUG or INFO: alarms are made of the logs")
	}
	v.checkValues(settings)
}

// tags applies the rules that all services share
// (docs.aws.amazon.com/tag-editor/latest/userguide/tagging.html).
func (v *validation) tags(tags map[string]string) {
	for _, key := range sorted(tags) {
		if !tagPattern.MatchString(key) || len(key) > 128 || strings.HasPrefix(strings.ToLower(key), "aws:") {
			v.add("tags."+key, fmt.Sprintf("tags is %q: write up to 128 letters, digits, spaces and _ . : / = + - @, not beginning with aws:", key))
		}
		v.check(tags[key] == "" || tagPattern.MatchString(tags[key]) && len(tags[key]) <= 256, "tags."+key, tags[key],
			"write up to 256 letters, digits, spaces and _ . : / = + - @")
	}
}

func (v *validation) cmekKey(place string, k CMEKKey, d Deployment, before []CMEKKey) {
	v.name(place+".name", k.Name)
	v.check(!slices.ContainsFunc(before, func(b CMEKKey) bool { return b.Name == k.Name }), place+".name", k.Name, "give each key a name of its own")
	v.account(place+".account", k.Account)
	v.check(slices.ContainsFunc(d.Accounts, func(a Account) bool { return a.ID == k.Account }), place+".account", k.Account, "list it under accounts, too")
	v.check(len(k.Regions) > 0, place+".regions", "", "list the cluster's Regions")
	for i, region := range k.Regions {
		v.region(fmt.Sprintf("%s.regions[%d]", place, i), region)
		v.check(!slices.Contains(k.Regions[:i], region), fmt.Sprintf("%s.regions[%d]", place, i), region, "list each Region once")
	}
	// docs.aws.amazon.com/kms/latest/APIReference/API_EnableKeyRotation.html
	v.check(k.RotationDays >= 90 && k.RotationDays <= 2560, place+".rotation_days", strconv.Itoa(k.RotationDays), "write 90 to 2560 days")
	v.account(place+".cluster_account", k.ClusterAccount)
	if k.PrimaryKey != "" {
		v.check(strings.HasPrefix(k.PrimaryKey.ID(), "mrk-"), place+".primary_key", string(k.PrimaryKey), "write the ARN of the multi-Region key that the first deployment made: its id begins with mrk-")
		v.check(k.MultiRegion, place+".primary_key", string(k.PrimaryKey), "leave it out: only multi-Region keys have a primary")
		v.key(place+".primary_key", k.PrimaryKey, k.Account)
		v.check(len(k.Regions) == 0 || k.PrimaryKey.Location() == k.Regions[0], place+".primary_key", string(k.PrimaryKey), "list the primary's Region first under regions")
	}
}

// compliance reports what the declarations themselves say is wrong: "exceptions[0]: owner is missing".
func (v *validation) compliance(d checks.Declarations) {
	joined, ok := d.Validate(time.Now()).(interface{ Unwrap() []error })
	if !ok {
		return
	}
	for _, err := range joined.Unwrap() {
		field, _, _ := strings.Cut(err.Error(), " ")
		v.problems = append(v.problems, Problem{Field: "compliance." + strings.TrimSuffix(field, ":"), Message: "compliance." + err.Error()})
	}
}
