package simulator

import "time"

// envelope is an event on EventBridge: the EventBridge events reference, docs.aws.amazon.com/eventbridge/latest/ref/.
type envelope struct {
	Version    string   `json:"version"`
	ID         string   `json:"id"`
	DetailType string   `json:"detail-type"`
	Source     string   `json:"source"`
	Account    string   `json:"account"`
	Time       string   `json:"time"`
	Region     string   `json:"region"`
	Resources  []string `json:"resources"`
	Detail     any      `json:"detail"`
}

// Detail types of EventBridge.
const (
	kmsRotation  = "KMS CMK Rotation"
	kmsDeletion  = "KMS CMK Deletion"
	kmsExpiry    = "KMS Imported Key Material Expiration"
	serviceEvent = "AWS Service Event via CloudTrail"
	apiCall      = "AWS API Call via CloudTrail"
)

// rotationDetail is the detail of KMS CMK Rotation: docs.aws.amazon.com/kms/latest/developerguide/kms-events.html.
type rotationDetail struct {
	KeyID            string `json:"key-id"`
	KeyOrigin        string `json:"key-origin,omitempty"`
	RotationType     string `json:"rotation-type,omitempty"`
	PreviousMaterial string `json:"previous-key-material-id,omitempty"`
	CurrentMaterial  string `json:"current-key-material-id,omitempty"`
}

// trailRecord is a CloudTrail record:
// docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html.
type trailRecord struct {
	EventVersion       string          `json:"eventVersion"`
	UserIdentity       trailIdentity   `json:"userIdentity"`
	EventTime          string          `json:"eventTime"`
	EventSource        string          `json:"eventSource"`
	EventName          string          `json:"eventName"`
	AWSRegion          string          `json:"awsRegion"`
	SourceIPAddress    string          `json:"sourceIPAddress"`
	UserAgent          string          `json:"userAgent"`
	ErrorCode          string          `json:"errorCode,omitempty"`
	ErrorMessage       string          `json:"errorMessage,omitempty"`
	RequestParameters  any             `json:"requestParameters"`
	ResponseElements   any             `json:"responseElements"`
	RequestID          string          `json:"requestID,omitempty"`
	EventID            string          `json:"eventID"`
	ReadOnly           bool            `json:"readOnly"`
	Resources          []trailResource `json:"resources"`
	EventType          string          `json:"eventType"`
	ManagementEvent    bool            `json:"managementEvent"`
	RecipientAccountID string          `json:"recipientAccountId"`
	AdditionalData     any             `json:"additionalEventData,omitempty"`
	ServiceDetails     any             `json:"serviceEventDetails,omitempty"`
	SharedEventID      string          `json:"sharedEventID,omitempty"`
	EventCategory      string          `json:"eventCategory"`
}

type trailIdentity struct {
	Type        string `json:"type,omitempty"`
	PrincipalID string `json:"principalId,omitempty"`
	ARN         string `json:"arn,omitempty"`
	AccountID   string `json:"accountId"`
	UserName    string `json:"userName,omitempty"`
	InvokedBy   string `json:"invokedBy,omitempty"`
	// SessionContext is a role's.
	SessionContext *trailSession `json:"sessionContext,omitempty"`
}

type trailSession struct {
	SessionIssuer trailIssuer `json:"sessionIssuer"`
}

type trailIssuer struct {
	Type        string `json:"type"`
	PrincipalID string `json:"principalId"`
	ARN         string `json:"arn"`
	AccountID   string `json:"accountId"`
	UserName    string `json:"userName"`
}

type trailResource struct {
	AccountID string `json:"accountId"`
	Type      string `json:"type"`
	ARN       string `json:"ARN"`
}

// emitRotation tells of new material twice, as AWS does: KMS's own event and CloudTrail's service event.
func (w *World) emitRotation(k *awsKey, kind, previous string, at time.Time) {
	current, origin := k.lineage.current().id, k.lineage.origin
	switch w.switches[KMSRotationEvent] {
	case "full":
		w.emit(k.account, k.region, kmsRotation, []string{k.arn}, at, rotationDetail{k.id, origin, kind, previous, current})
	case "key-id-only":
		w.emit(k.account, k.region, kmsRotation, []string{k.arn}, at, rotationDetail{KeyID: k.id})
	}
	// docs.aws.amazon.com/kms/latest/developerguide/ct-rotatekey.html
	w.emitServiceEvent(k, "RotateKey", at, map[string]string{
		"keyId": k.id, "keyOrigin": origin, "rotationType": kind,
		"previousKeyMaterialId": previous, "currentKeyMaterialId": current,
	})
}

// emitDeletion tells that the key is gone for good.
func (w *World) emitDeletion(k *awsKey, at time.Time) {
	w.emit(k.account, k.region, kmsDeletion, []string{k.arn}, at, map[string]string{"key-id": k.id})
	w.emitServiceEvent(k, "DeleteKey", at, nil)
}

// emitExpiry reports that imported key material expired and was deleted:
// docs.aws.amazon.com/kms/latest/developerguide/ct-deleteexpiredkeymaterial.html.
func (w *World) emitExpiry(k *awsKey, material string, at time.Time) {
	w.emit(k.account, k.region, kmsExpiry, []string{k.arn}, at, map[string]string{"key-id": k.id, "key-material-id": material})
	w.emitServiceEvent(k, "DeleteExpiredKeyMaterial", at, map[string]string{"keyId": k.id, "keyMaterialId": material})
}

// emitServiceEvent reports what KMS did by itself. Only DeleteKey has response elements, the others have details.
func (w *World) emitServiceEvent(k *awsKey, name string, at time.Time, details map[string]string) {
	record := w.trailRecord(k.account, k.region, name, at)
	record.EventType = "AwsServiceEvent"
	record.UserIdentity = trailIdentity{AccountID: k.account, InvokedBy: "AWS Internal"}
	record.SourceIPAddress, record.UserAgent = "AWS Internal", "AWS Internal"
	record.Resources = k.trailResources()
	if details != nil {
		record.ServiceDetails = details
	} else {
		record.ResponseElements = map[string]string{"keyId": k.arn}
	}
	w.emitRecord(serviceEvent, record, at)
}

// trailRecord is a record with what all records share.
func (w *World) trailRecord(account, region, name string, at time.Time) trailRecord {
	return trailRecordOf(w.uuid(), account, region, name, at)
}

func trailRecordOf(id, account, region, name string, at time.Time) trailRecord {
	return trailRecord{
		EventVersion: "1.11", EventTime: at.Format(time.RFC3339), EventSource: "kms.amazonaws.com", EventName: name,
		AWSRegion: region, EventID: id, ManagementEvent: true, RecipientAccountID: account, EventCategory: "Management",
	}
}

func (k *awsKey) trailResources() []trailResource {
	return []trailResource{{k.account, "AWS::KMS::Key", k.arn}}
}

// emitRecord puts a CloudTrail record into the history, and on the bus if there is a trail. Its envelope names no resources.
func (w *World) emitRecord(detailType string, record trailRecord, at time.Time) {
	w.note(record, at)
	if w.is(CloudTrail, "on") {
		w.emit(record.RecipientAccountID, record.AWSRegion, detailType, []string{}, at, record)
	}
}

func (w *World) emit(account, region, detailType string, resources []string, at time.Time, detail any) {
	payload := toJSON(envelope{
		Version: "0", ID: w.uuid(), DetailType: detailType, Source: "aws.kms", Account: account,
		Time: at.Format(time.RFC3339), Region: region, Resources: resources, Detail: detail,
	})
	w.events.add(Event{Seq: w.events.next(), Time: w.observed(at), Payload: payload})
}
