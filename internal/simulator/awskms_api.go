package simulator

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"
	"unicode"
)

// mostBody is the largest request body that is read.
const mostBody = 1 << 20

// AWSKMS serves AWS KMS in its JSON 1.1 protocol. The Region and the account of the caller are those of the credential scope
// in Authorization; the signature is not checked.
func (w *World) AWSKMS() http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, mostBody))
		if err != nil {
			body = nil // not JSON, so the call is refused as one that cannot be read
		}
		w.answerKMS(r, body).write(rw)
	})
}

// answerKMS does everything that needs the world, so that a slow reader of the answer holds up nobody.
func (w *World) answerKMS(r *http.Request, body []byte) answer {
	now := w.enter()
	defer w.mu.Unlock()
	var output any
	c, failed := w.kmsCall(r, body, now)
	if failed == nil {
		output, failed = w.callKMS(c)
	}
	w.recordKMS(r, c, failed)
	return c.answer(output, failed)
}

// kmsCall is one request to the KMS.
type kmsCall struct {
	operation string
	input     kmsInput
	// parameters is the whole input, for CloudTrail.
	parameters      map[string]any
	account, region string
	requestID       string
	userAgent       string
	now             time.Time
}

// kmsInput holds the members of all operations' inputs.
type kmsInput struct {
	KeyID                string `json:"KeyId"`
	Limit                *int
	Marker               string
	IncludeKeyMaterial   string
	RotationPeriodInDays *int
	PendingWindowInDays  *int
	PolicyName           string
	Policy               string
	ReplicaRegion        string
	Description          string
}

// kmsError is an exception of the KMS; its code is the SDK's name for it.
type kmsError struct{ code, message string }

func missing(member string) *kmsError {
	return &kmsError{"ValidationException",
		"1 validation error detected: Value null at '" + member + "' failed to satisfy constraint: Member must not be null"}
}

func outOfRange(member string, value, least, most int) *kmsError {
	return &kmsError{"ValidationException", fmt.Sprintf("1 validation error detected: Value '%d' at '%s' failed to satisfy constraint: "+
		"Member must have value between %d and %d", value, member, least, most)}
}

// credentialScope is the part of a SigV4 Authorization header that names access key, Region and service:
// docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html.
var credentialScope = regexp.MustCompile(`Credential=([^/,\s]+)/\d{8}/([a-z0-9-]+)/kms/aws4_request`)

func (w *World) kmsCall(r *http.Request, body []byte, now time.Time) (*kmsCall, *kmsError) {
	c := &kmsCall{requestID: w.uuid(), userAgent: r.UserAgent(), account: w.aws.account, now: now}
	c.operation, _ = strings.CutPrefix(r.Header.Get("X-Amz-Target"), "TrentService.")
	scope := credentialScope.FindStringSubmatch(r.Header.Get("Authorization"))
	if scope == nil {
		return c, &kmsError{"MissingAuthenticationTokenException", "Request is missing Authentication Token"}
	}
	if c.region = scope[2]; accountPattern.MatchString(scope[1]) {
		c.account = scope[1]
	}
	if json.Unmarshal(body, &c.input) != nil || json.Unmarshal(body, &c.parameters) != nil {
		return c, &kmsError{"SerializationException", "The request body is not a JSON object of the expected types."}
	}
	return c, nil
}

// callKMS runs the operation on its key. A write leaves a CloudTrail record whether or not it succeeded.
func (w *World) callKMS(c *kmsCall) (output any, failed *kmsError) {
	operation, known := kmsOperations[c.operation]
	if !known {
		return nil, &kmsError{"UnknownOperationException", "Operation " + c.operation + " is unknown here."}
	}
	var k *awsKey
	if operation.onKey || c.input.KeyID != "" {
		if k, failed = w.findKey(c); failed == nil {
			failed = w.authorize(c, operation, k)
		}
	}
	if failed == nil {
		output, failed = operation.run(w, c, k)
	}
	if operation.writes {
		w.emitCall(c, k, output, failed)
		w.agenda.run(c.now) // what takes no time at all has happened when the caller hears of it
	}
	return output, failed
}

// findKey resolves the key id, key ARN, alias name or alias ARN in the caller's Region.
func (w *World) findKey(c *kmsCall) (*awsKey, *kmsError) {
	id := c.input.KeyID
	if id == "" {
		return nil, missing("keyId")
	}
	account := c.account
	if parts := strings.SplitN(id, ":", 6); len(parts) == 6 {
		if parts[2] != "kms" || parts[3] != c.region {
			return nil, &kmsError{"NotFoundException", "Invalid arn " + parts[3]}
		}
		account, id = parts[4], strings.TrimPrefix(parts[5], "key/")
	}
	if strings.HasPrefix(id, "alias/") {
		if c.operation != "DescribeKey" { // the only operation here that takes an alias
			return nil, &kmsError{"NotFoundException", "Invalid keyId '" + c.input.KeyID + "'"}
		}
		for _, alias := range w.aws.aliases {
			if alias.name == id && alias.key.region == c.region && alias.key.account == account {
				return alias.key, nil
			}
		}
		return nil, &kmsError{"NotFoundException", fmt.Sprintf("Alias arn:aws:kms:%s:%s:%s is not found.", c.region, account, id)}
	}
	if k := w.aws.byRegionAndID[c.region+"/"+id]; k != nil && k.account == account {
		return k, nil
	}
	return nil, &kmsError{"NotFoundException", fmt.Sprintf("Key 'arn:aws:kms:%s:%s:key/%s' does not exist", c.region, account, id)}
}

func (w *World) authorize(c *kmsCall, operation kmsOperation, k *awsKey) *kmsError {
	if !k.denied && (c.account == k.account || operation.crossAccount) {
		return nil
	}
	return &kmsError{"AccessDeniedException", fmt.Sprintf(
		"User: %s is not authorized to perform: kms:%s on resource: %s because no resource-based policy allows the kms:%s action",
		c.principal(), c.operation, k.arn, c.operation)}
}

// principal is who calls; the simulator knows one person per account.
func (c *kmsCall) principal() string { return "arn:aws:iam::" + c.account + ":user/operator" }

// answer is the response; an error's form is that of docs.aws.amazon.com/kms/latest/APIReference/CommonErrors.html.
func (c *kmsCall) answer(output any, failed *kmsError) answer {
	a := newAnswer(http.StatusOK, "application/x-amz-json-1.1", nil)
	a.header.Set("X-Amzn-Requestid", c.requestID)
	switch {
	case failed != nil:
		a.status, a.body = http.StatusBadRequest, toJSON(map[string]string{"__type": failed.code, "message": failed.message})
	case output != nil: // an operation without output has an empty body
		a.body = toJSON(output)
	}
	return a
}

// emitCall leaves the CloudTrail record of a write. One that was denied names neither parameters nor resources.
func (w *World) emitCall(c *kmsCall, k *awsKey, output any, failed *kmsError) {
	record := w.trailRecord(c.account, c.region, c.operation, c.now)
	record.EventType = "AwsApiCall"
	record.UserIdentity = trailIdentity{
		Type: "IAMUser", PrincipalID: "AIDASAMPLESAMPLESAMPL", ARN: c.principal(), AccountID: c.account, UserName: "operator",
	}
	record.SourceIPAddress, record.UserAgent, record.RequestID = "192.0.2.10", c.userAgent, c.requestID
	record.RequestParameters = lowerFirst(c.parameters)
	if k != nil {
		record.Resources = k.trailResources()
	}
	switch {
	case failed == nil:
		record.ResponseElements = responseElements(c, k, output)
	case failed.code == "AccessDeniedException":
		// CloudTrail spells codes without "Exception" here.
		record.ErrorCode, record.ErrorMessage = "AccessDenied", failed.message
		record.RequestParameters, record.Resources = nil, nil
	default:
		record.ErrorCode, record.ErrorMessage = failed.code, failed.message
	}
	w.emitRecord(apiCall, record, c.now)
}

// responseElements is what CloudTrail shows of an answer:
// docs.aws.amazon.com/kms/latest/developerguide/understanding-kms-entries.html.
func responseElements(c *kmsCall, k *awsKey, output any) any {
	switch output := output.(type) {
	case *scheduleDeletionOutput:
		elements := map[string]any{"keyId": k.arn, "keyState": output.KeyState, "pendingWindowInDays": output.PendingWindowInDays}
		if !output.DeletionDate.IsZero() {
			// CloudTrail shows dates as people read them.
			elements["deletionDate"] = output.DeletionDate.Format("Jan 2, 2006, 3:04:05 PM")
		}
		return elements
	case keyMetadata:
		return map[string]any{"keyMetadata": map[string]string{"arn": output.Arn}}
	case *replicateKeyOutput:
		return map[string]any{"replicaKeyMetadata": map[string]string{"arn": output.ReplicaKeyMetadata.Arn}}
	}
	if c.operation == "EnableKeyRotation" || c.operation == "DisableKeyRotation" {
		return nil
	}
	return map[string]string{"keyId": k.arn}
}

// lowerFirst spells parameter names as CloudTrail does.
func lowerFirst(parameters map[string]any) any {
	if parameters == nil {
		return nil
	}
	lowered := make(map[string]any, len(parameters))
	for name, value := range parameters {
		runes := []rune(name)
		if len(runes) > 0 {
			runes[0] = unicode.ToLower(runes[0])
		}
		lowered[string(runes)] = value
	}
	return lowered
}

func (w *World) recordKMS(r *http.Request, c *kmsCall, failed *kmsError) {
	request := Request{Seq: w.requests.next(), Time: w.observed(c.now), API: "kms", Method: r.Method, Path: c.operation, Caller: c.region,
		Status: http.StatusOK, Outcome: "ok"}
	if failed != nil {
		request.Status, request.Outcome = http.StatusBadRequest, failed.code+": "+failed.message
	}
	w.requests.add(request)
}
