package simulator

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// Names of the switches; what each does is in its Doc.
const (
	BusyReply         = "busy-reply"
	RateLimit         = "rate-limit"
	RateLimitStatus   = "rate-limit-status"
	CMEKAbsent        = "cmek-absent"
	StatusFlip        = "status-flip"
	SameURIKeyInfo    = "same-uri-key-info"
	FormerKeyInfo     = "former-key-info"
	KeyInfoOrder      = "key-info-order"
	DuplicatePUT      = "duplicate-put"
	ErrorBody         = "error-body"
	RotationDuration  = "rotation-duration"
	PUTRegions        = "put-regions"
	UpdatedAt         = "updated-at"
	PUTWithoutCMEK    = "put-without-cmek"
	PUTAfterRevoke    = "put-after-revoke"
	POSTWhenEnabled   = "post-when-enabled"
	InvalidKeySpec    = "invalid-key-spec"
	CMEKOnOtherPlans  = "cmek-on-other-plans"
	NodesInRotation   = "nodes-in-rotation"
	PUTInBlackout     = "put-in-blackout"
	FailedKeyStatus   = "failed-key-status"
	ClusterCreation   = "cluster-creation"
	WhileCreating     = "while-creating"
	PageLimit         = "page-limit"
	SinglePage        = "single-page"
	AuditPayload      = "audit-payload"
	OldKeyDisabled    = "old-key-disabled"
	NodesAfterRevoke  = "nodes-after-revoke"
	IAMPropagation    = "iam-propagation"
	UnknownRegion     = "unknown-region"
	MachineType       = "machine-type"
	OmittedRegion     = "omitted-region"
	KMSPropagation    = "kms-propagation"
	KMSRotationTime   = "kms-rotation-time"
	KMSRotationEvent  = "kms-rotation-event"
	KMSReplicaEvents  = "kms-replica-events"
	KMSMaterialID     = "kms-material-id"
	KMSRotationsOrder = "kms-rotations-order"
	KMSReplicaHistory = "kms-replica-history"
	CloudTrail        = "cloudtrail"
	CloudTrailLookup  = "cloudtrail-lookup"
	CMEKUse           = "cmek-use"
	ClockOffset       = "clock-offset"

	GooglePropagation   = "google-propagation"
	GoogleRotationEvent = "google-rotation-event"
	GoogleDataAccess    = "google-data-access"
	GoogleEnums         = "google-enums"
	GooglePageLimit     = "google-page-limit"
	GoogleLogging       = "google-logging"
	GoogleLogRetention  = "google-log-retention"
	GoogleLoggedVersion = "google-logged-version"
)

// Switch is one question that the vendors leave open, or one pace that tests want to set.
type Switch struct {
	Name string `json:"name"`
	// Value is the setting in force.
	Value string `json:"value"`
	// Settings lists the possible answers, the most plausible (the default) first. "duration" among them admits every Go
	// duration, "offset" every one from -10m to 10m, "number" every positive number; the others are then suggestions.
	Settings []string `json:"settings"`
	Doc      string   `json:"doc"`
}

const (
	anyDuration = "duration"
	anyNumber   = "number"
	anyOffset   = "offset"

	// notReady is the setting of BusyReply without the word lock.
	notReady = "503-not-ready"
)

var switchTable = []Switch{
	{Name: BusyReply, Settings: []string{"503", "409", "400", notReady},
		Doc: "Reply to a write while the cluster is busy: 503 with code 14, 409 with code 10 or 400, with a message about the lock; " +
			"or 503 with code 14, not ready."},
	{Name: RateLimit, Settings: []string{"10", anyNumber},
		Doc: "Requests per second that one service account may send; 10 is documented."},
	{Name: RateLimitStatus, Settings: []string{"429", "503", "403"},
		Doc: "HTTP status of the reply over the rate limit. Retry-After and the text are documented, the status is not."},
	{Name: CMEKAbsent, Settings: []string{"disabled", "404", "empty"},
		Doc: "GET …/cmek of a cluster without CMEK: 200 with status DISABLED, 404, or 200 with neither status nor regions."},
	{Name: StatusFlip, Settings: []string{"before", "after"},
		Doc: "Whether reads show an operation before its PUT returns, or up to 3 s after."},
	{Name: SameURIKeyInfo, Settings: []string{"update", "append"},
		Doc: "A PUT with the same key updates the key_info in place, or appends a new one and ends the old as DISABLED."},
	{Name: FormerKeyInfo, Settings: []string{"append", "re-enable"},
		Doc: "A PUT with a key that the region had before another one appends a new key_info, or enables the former one again."},
	{Name: KeyInfoOrder, Settings: []string{"oldest-first", "newest-first", "random"},
		Doc: "Order of key_infos; random draws a new order for each read."},
	{Name: DuplicatePUT, Settings: []string{"busy", "rotate", "no-op"},
		Doc: "A PUT that repeats the running one: busy, another rotation in its place, or 200 without effect. " +
			"No-op also answers a PUT that would wrap under the material already in use."},
	{Name: ErrorBody, Settings: []string{"json", "html", "text"},
		Doc: "Body of every error: the Status schema, or what a proxy might send instead."},
	{Name: RotationDuration, Settings: []string{"8s", "0s", "90s", "20m", "1h", anyDuration},
		Doc: "How long an operation on a cluster takes."},
	{Name: PUTRegions, Settings: []string{"all-succeed", "last-fails"},
		Doc: "Regions of one PUT: all succeed, or the last by name fails when there are several."},
	{Name: UpdatedAt, Settings: []string{"moves", "stays"},
		Doc: "Whether updated_at moves when a key_info is updated in place. New key_infos have their own times anyway."},
	{Name: PUTWithoutCMEK, Settings: []string{"400", "404", "enable"},
		Doc: "PUT on a cluster without CMEK: refused, or it enables like POST (with all regions)."},
	{Name: PUTAfterRevoke, Settings: []string{"400", "403", "rotate"},
		Doc: "PUT on a revoked cluster: refused, or accepted as if nothing had happened."},
	{Name: POSTWhenEnabled, Settings: []string{"400", "409", "rotate"},
		Doc: "POST on a cluster that has a CMEK: refused, or handled like PUT."},
	{Name: InvalidKeySpec, Settings: []string{"400", "404"},
		Doc: "Reply to an unknown region or a key of the wrong type."},
	{Name: CMEKOnOtherPlans, Settings: []string{"400", "403", "404", "501"},
		Doc: "Reply of …/cmek on BASIC and STANDARD clusters."},
	{Name: NodesInRotation, Settings: []string{"live", "restart"},
		Doc: "Whether one node of each region is NOT_READY while a CMEK operation runs."},
	{Name: PUTInBlackout, Settings: []string{"accept", "refuse"},
		Doc: "PUT inside a blackout window."},
	{Name: FailedKeyStatus, Settings: []string{"ENABLE_FAILED", "ENABLED"},
		Doc: "Status of a key_info updated in place after its rotation failed; the old wrapping is still in force."},
	{Name: ClusterCreation, Settings: []string{cmek.StateCreated, clusterCreationFailed},
		Doc: "State of a new cluster after the time that an operation takes."},
	{Name: WhileCreating, Settings: []string{"404", "503"},
		Doc: "Reply of what is below a cluster (…/cmek, …/nodes) while the cluster is CREATING: 404 with code 5, or 503 with code 14, not ready."},
	{Name: PageLimit, Settings: []string{"100", "2", "500", anyNumber},
		Doc: "Most entries on a page of the Cloud API, whatever the caller asks for."},
	{Name: SinglePage, Settings: []string{"object", "null"},
		Doc: "The pagination field when everything fits on one page."},
	{Name: AuditPayload, Settings: []string{"string", "object"},
		Doc: "Type of payload in the audit log: a string since mid-2025, an object before."},
	{Name: OldKeyDisabled, Settings: []string{"fail", "ignore"},
		Doc: "A PUT with another key whose former key cannot be used when the operation ends: ROTATE_FAILED, or it succeeds."},
	{Name: NodesAfterRevoke, Settings: []string{"not-ready", "live"},
		Doc: "Nodes of a region whose CMEK is REVOKED: NOT_READY, as after a restart that finds no key, or LIVE as long as none restarts."},
	{Name: IAMPropagation, Settings: []string{"0s", "1m", "4m", anyDuration},
		Doc: "How long after a cluster was first asked to enable CMEK, or to add a region with one, its access to a key stays refused, as while changes of policies spread."},
	{Name: UnknownRegion, Settings: []string{"400", "accept"},
		Doc: "A new region that the cluster's cloud does not have: refused, or taken."},
	{Name: MachineType, Settings: []string{"400", "accept"},
		Doc: "A machine type that the cluster's cloud does not have: refused, or taken."},
	{Name: OmittedRegion, Settings: []string{"remove", "keep", "400"},
		Doc: "A region that region_nodes of PATCH …/clusters/{id} leave out: removed, which the Terraform provider relies on, kept, or the request is refused."},
	{Name: KMSPropagation, Settings: []string{"5s", "0s", "1m", "4m", anyDuration},
		Doc: "How long after a completed rotation encryption still uses the old material. Everything else shows the new one at once."},
	{Name: KMSRotationTime, Settings: []string{"3s", "0s", "1m", anyDuration},
		Doc: "How long an on-demand rotation runs, from RotateKeyOnDemand to the rotation event."},
	{Name: KMSRotationEvent, Settings: []string{"full", "key-id-only", "none"},
		Doc: "The KMS CMK Rotation event: with material ids, in its shape before 2025, or lost (delivery is best effort)."},
	{Name: KMSReplicaEvents, Settings: []string{"primary-only", "every-region"},
		Doc: "Regions that emit the events of a multi-Region key's rotation."},
	{Name: KMSMaterialID, Settings: []string{"present", "absent"},
		Doc: "Whether DescribeKey and ListKeyRotations carry material ids."},
	{Name: KMSRotationsOrder, Settings: []string{"oldest-first", "newest-first"},
		Doc: "Order of ListKeyRotations."},
	{Name: KMSReplicaHistory, Settings: []string{"listed", "empty"},
		Doc: "Whether ListKeyRotations at a replica shows the rotations of the multi-Region key, or none."},
	{Name: CloudTrail, Settings: []string{"on", "off"},
		Doc: "Whether a trail delivers the KMS's records to EventBridge. Off leaves only the KMS's own events."},
	{Name: CloudTrailLookup, Settings: []string{"5m", "0s", "never", anyDuration},
		Doc: "How long after a call LookupEvents of CloudTrail shows it. Never: records are lost."},
	{Name: CMEKUse, Settings: []string{"Encrypt", "GenerateDataKey", "ReEncrypt", "none"},
		Doc: "The operation of AWS KMS by which a store key is encrypted; none: no log of a cloud has a record of it."},
	{Name: GooglePropagation, Settings: []string{"1m", "0s", "3h", anyDuration},
		Doc: "Cloud KMS: how long Encrypt still uses the former primary version, and a disabled version can still be used. Reads show both at once."},
	{Name: GoogleRotationEvent, Settings: []string{"automatic", "every", "none"},
		Doc: "Cloud KMS: rotations that write a rotationEvent to the platform log: automatic ones, those by hand as well, or none."},
	{Name: GoogleDataAccess, Settings: []string{"off", "on"},
		Doc: "Whether Data Access audit logs are on, which show the use of keys and the tokens that Cockroach Labs' account creates: always, or where allow policies have auditConfigs for DATA_READ."},
	{Name: GoogleLogging, Settings: []string{"5s", "0s", "never", anyDuration},
		Doc: "How long after a call entries.list of Cloud Logging shows its entry. Never: entries go elsewhere."},
	{Name: GoogleLogRetention, Settings: []string{"720h", anyDuration},
		Doc: "How long Cloud Logging keeps entries."},
	{Name: GoogleLoggedVersion, Settings: []string{"label", "response", "resource-name", "none"},
		Doc: "Where the entry of a use names the version of the key: in a label of its resource, in the response (of Encrypt; Decrypt has none), in resourceName, or nowhere."},
	{Name: GoogleEnums, Settings: []string{"as-asked", "names", "integers"},
		Doc: "Enums in answers of Cloud KMS: integers to those that ask for them with $alt and names to others, or one of them to all."},
	{Name: GooglePageLimit, Settings: []string{"100", "2", anyNumber},
		Doc: "Most entries on a page of a Google API, whatever the caller asks for."},
	{Name: ClockOffset, Settings: []string{"0s", "10m", "-10m", anyOffset},
		Doc: "How far the clocks of the Cloud API and the KMSs are ahead of the caller's. It shifts the times they write from now on, not how long anything takes."},
}

// Set turns a switch. It counts from the next request on; what already runs keeps its course. The error names the
// settings there are.
func (w *World) Set(name, value string) error {
	if err := checkSwitch(name, value); err != nil {
		return err
	}
	w.enter()
	defer w.mu.Unlock()
	w.switches[name] = value
	if name == ClockOffset {
		w.shiftClock(w.duration(ClockOffset))
	}
	return nil
}

// Switches returns all switches with the settings in force.
func (w *World) Switches() []Switch {
	w.enter()
	defer w.mu.Unlock()
	all := slices.Clone(switchTable)
	for i := range all {
		all[i].Value = w.switches[all[i].Name]
		all[i].Settings = slices.Clone(all[i].Settings)
	}
	return all
}

func checkSwitch(name, value string) error {
	i := slices.IndexFunc(switchTable, func(s Switch) bool { return s.Name == name })
	if i < 0 {
		return fmt.Errorf("no switch %q", name)
	}
	settings := switchTable[i].Settings
	switch {
	case value == anyDuration || value == anyNumber || value == anyOffset:
	case slices.Contains(settings, value):
		return nil
	case slices.Contains(settings, anyDuration):
		if d, err := time.ParseDuration(value); err == nil && d >= 0 {
			return nil
		}
	case slices.Contains(settings, anyOffset):
		if d, err := time.ParseDuration(value); err == nil && d.Abs() <= mostClockOffset {
			return nil
		}
	case slices.Contains(settings, anyNumber):
		if n, err := strconv.Atoi(value); err == nil && n > 0 {
			return nil
		}
	}
	return fmt.Errorf("switch %s: %q is none of %s", name, value, strings.Join(settings, ", "))
}

// is reports whether a switch has the setting. The world is locked.
func (w *World) is(name, setting string) bool { return w.switches[name] == setting }

// duration reads a switch that checkSwitch holds to be a duration.
func (w *World) duration(name string) time.Duration {
	d, _ := time.ParseDuration(w.switches[name])
	return d
}

// number reads a switch that checkSwitch holds to be a number.
func (w *World) number(name string) int {
	n, _ := strconv.Atoi(w.switches[name])
	return n
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
