package simulator

import (
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"time"
)

// logEntry is what Cloud Logging holds: cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry.
type logEntry struct {
	InsertID         string            `json:"insertId"`
	JSONPayload      any               `json:"jsonPayload,omitempty"`
	LogName          string            `json:"logName"`
	Operation        *logOperation     `json:"operation,omitempty"`
	ProtoPayload     *auditLog         `json:"protoPayload,omitempty"`
	ReceiveTimestamp string            `json:"receiveTimestamp"`
	Resource         monitoredResource `json:"resource"`
	Severity         string            `json:"severity"`
	Timestamp        string            `json:"timestamp"`
}

type monitoredResource struct {
	Type   string            `json:"type"`
	Labels map[string]string `json:"labels"`
}

// logOperation ties the two entries of a long-running operation together.
type logOperation struct {
	ID       string `json:"id"`
	Producer string `json:"producer"`
	First    bool   `json:"first,omitempty"`
	Last     bool   `json:"last,omitempty"`
}

// auditLog is cloud.google.com/logging/docs/reference/audit/auditlog/rest/Shared.Types/AuditLog.
type auditLog struct {
	Type               string         `json:"@type"`
	ServiceName        string         `json:"serviceName"`
	MethodName         string         `json:"methodName"`
	ResourceName       string         `json:"resourceName"`
	Status             any            `json:"status,omitempty"`
	AuthenticationInfo any            `json:"authenticationInfo"`
	AuthorizationInfo  any            `json:"authorizationInfo"`
	RequestMetadata    any            `json:"requestMetadata"`
	ResourceLocation   any            `json:"resourceLocation,omitempty"`
	Request            map[string]any `json:"request,omitempty"`
	Response           map[string]any `json:"response,omitempty"`
	ServiceData        any            `json:"serviceData,omitempty"`
}

// auditDetails is what an operation leaves for the audit log.
type auditDetails struct {
	// resourceName is that of the entry, if it is not that of the call; named is that of the key's version.
	resourceName, named string
	// version is the number of a key's version that the call is about, "" for none.
	version string
	account *googleAccount
	// node is the project, folder or organization that the call is about, if its path names none.
	node string
	// operation is the name of a long-running operation.
	operation         string
	request, response map[string]any
	// delta is what a change of a policy changed.
	delta map[string]any
}

const logTime = "2006-01-02T15:04:05.000000000Z"

// emitGoogleCall leaves the audit log entry of a call, whether it succeeded or not. Use of keys is in the Data Access log, which is off
// unless somebody enables it.
func (w *World) emitGoogleCall(c *googleCall, failed *googleError) {
	parent := w.logParent(c)
	if project, ok := strings.CutPrefix(parent, "projects/"); ok && w.google.projects[project] == nil {
		return // the log of a project that is not here, or of none: "projects/-"
	}
	log, severity := "activity", "NOTICE"
	if c.row.use {
		if !w.logsUse(c) {
			return
		}
		log, severity = "data_access", "INFO"
	}
	if failed != nil {
		severity = "ERROR"
	}
	name := cmp.Or(c.entry.resourceName, c.entry.named, c.resource)
	if a := c.entry.account; a != nil && c.row.log != "google.iam.admin.v1.CreateServiceAccount" {
		name = "projects/-/serviceAccounts/" + a.uniqueID
	}
	granted := map[string]any{
		"permission": c.row.permission, "resource": name, "resourceAttributes": map[string]any{"name": name, "service": c.row.service},
	}
	if failed == nil || failed.code != googleDenied {
		granted["granted"] = true
	}
	kind := "user"
	if strings.HasSuffix(c.principal, ".gserviceaccount.com") {
		kind = "serviceAccount"
	}
	entry := &logEntry{Severity: severity, Resource: w.monitored(c, name), ProtoPayload: &auditLog{
		Type: "type.googleapis.com/google.cloud.audit.AuditLog", ServiceName: c.row.service, MethodName: c.row.log, ResourceName: name,
		Status:             failed.status(),
		AuthenticationInfo: map[string]any{"principalEmail": c.principal, "principalSubject": kind + ":" + c.principal},
		AuthorizationInfo:  []any{granted},
		RequestMetadata:    map[string]any{"callerIp": "192.0.2.10", "callerSuppliedUserAgent": c.userAgent},
		Request:            c.entry.request, Response: c.entry.response,
	}}
	if location := entry.Resource.Labels["location"]; location != "" {
		entry.ProtoPayload.ResourceLocation = map[string]any{"currentLocations": []string{location}}
	}
	// Cloud KMS says nothing of what a new policy changed; the others do.
	if c.entry.delta != nil && c.row.service != kmsService {
		entry.ProtoPayload.ServiceData = map[string]any{
			"@type": "type.googleapis.com/google.iam.v1.logging.AuditData", "policyDelta": c.entry.delta,
		}
	}
	if c.row.use {
		w.nameVersion(c, entry)
	}
	entry.LogName = parent + "/logs/cloudaudit.googleapis.com%2F" + log
	if c.entry.operation == "" || failed != nil {
		w.emitEntry(entry, c.now)
		return
	}
	first, begun := *entry, *entry.ProtoPayload
	first.Operation, first.ProtoPayload = &logOperation{ID: c.entry.operation, Producer: c.row.service, First: true}, &begun
	begun.Status = nil
	w.emitEntry(&first, c.now)
	entry.Operation = &logOperation{ID: c.entry.operation, Producer: c.row.service, Last: true}
	w.emitEntry(entry, c.now)
}

// logParent is the project, folder or organization whose log an entry goes to.
func (w *World) logParent(c *googleCall) string {
	node := cmp.Or(c.entry.node, c.resource)
	if c.entry.account != nil {
		node = "projects/" + c.entry.account.project
	}
	parts := strings.Split(node, "/")
	if len(parts) < 2 {
		return node
	}
	return parts[0] + "/" + parts[1]
}

// monitored is the monitored resource of an entry: cloud.google.com/logging/docs/api/v2/resource-list.
func (w *World) monitored(c *googleCall, name string) monitoredResource {
	if a := c.entry.account; a != nil {
		return monitoredResource{"service_account", map[string]string{"email_id": a.email, "project_id": a.project, "unique_id": a.uniqueID}}
	}
	if c.row.service == kmsService {
		return kmsResource(w.google.canonical(name), c.entry.version)
	}
	kind, id, _ := strings.Cut(w.logParent(c), "/")
	kind = strings.TrimSuffix(kind, "s")
	if c.row.service == resourceService || c.row.service == billingService {
		return monitoredResource{kind, map[string]string{kind + "_id": id}}
	}
	return monitoredResource{"audited_resource", map[string]string{kind + "_id": id, "service": c.row.service, "method": c.row.log}}
}

// kmsResource has the labels of a key ring, of a key, or of one of its versions.
func kmsResource(name, version string) monitoredResource {
	parts := strings.Split(name, "/")
	r := monitoredResource{"cloudkms_keyring", map[string]string{"project_id": parts[1]}}
	for i, label := range map[int]string{3: "location", 5: "key_ring_id", 7: "crypto_key_id"} {
		if len(parts) > i {
			r.Labels[label] = parts[i]
		}
	}
	if len(parts) > 7 {
		r.Type = "cloudkms_cryptokey"
	}
	if version != "" {
		r.Type, r.Labels["crypto_key_version_id"] = "cloudkms_cryptokeyversion", version
	}
	return r
}

// emitRotationEvent writes the platform log of an automatic rotation, which has no audit log entry, or of one that failed:
// google/cloud/kms/logging/v1/logs.proto. It does not say which version became primary.
func (w *World) emitRotationEvent(k *googleKey, failed *googleError, at time.Time) {
	w.emitPlatform("cryptokey_events", "CryptoKeyEvent", "rotationEvent", kmsResource(k.name, ""), failed, at)
}

// emitVersionEvent writes the platform log of what became of a version by itself.
func (w *World) emitVersionEvent(v *googleVersion, event string, at time.Time) {
	w.emitPlatform("cryptokeyversion_events", "CryptoKeyVersionEvent", event, kmsResource(v.key.name, v.id()), nil, at)
}

func (w *World) emitPlatform(log, message, event string, resource monitoredResource, failed *googleError, at time.Time) {
	entry := &logEntry{
		LogName: "projects/" + resource.Labels["project_id"] + "/logs/cloudkms.googleapis.com%2F" + log, Severity: "INFO", Resource: resource,
		JSONPayload: map[string]any{
			"@type": "type.googleapis.com/google.cloud.kms.logging.v1." + message, event: map[string]any{"status": failed.status()},
		},
	}
	if failed != nil {
		entry.Severity = "ERROR"
	}
	w.emitEntry(entry, at)
}

// emitEntry files an entry, and delivers it as a log sink and a push subscription do: cloud.google.com/pubsub/docs/push.
func (w *World) emitEntry(entry *logEntry, at time.Time) {
	entry.InsertID = hex.EncodeToString(w.bytes(7))
	entry.Timestamp, entry.ReceiveTimestamp = at.Format(logTime), at.Add(time.Second).Format(logTime)
	id, published := w.digits(16), entry.ReceiveTimestamp
	project := cmp.Or(entry.Resource.Labels["project_id"], "logs")
	payload := toJSON(map[string]any{
		"message": map[string]any{
			"data":      base64.StdEncoding.EncodeToString(append(toJSON(entry), '\n')),
			"messageId": id, "message_id": id, "publishTime": published, "publish_time": published,
			"attributes": map[string]string{"logging.googleapis.com/timestamp": entry.Timestamp},
		},
		"subscription": "projects/" + project + "/subscriptions/keyturn",
	})
	w.keep(entry, at)
	w.events.add(Event{Seq: w.events.next(), Time: w.observed(at), Payload: payload})
}
