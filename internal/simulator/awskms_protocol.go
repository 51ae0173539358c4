package simulator

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"
)

// mostBody is the largest request body that is read.
const mostBody = 1 << 20

// AWSKMS serves AWS KMS in its JSON 1.1 protocol. The Region and the caller are those of the credential scope in Authorization
// (see [AWSCallerSeed]); the signature is not checked.
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
	kmsCaller
	operation string
	input     kmsInput
	// row is the operation's in the table of operations.
	row kmsOperation
	// parameters is the whole input as it came.
	parameters map[string]any
	region     string
	requestID  string
	userAgent  string
	now        time.Time

	// key is the one that the call is on or has made; nil for none.
	key *awsKey
	// alias is the ARN of the alias that the call names, and material the key material that it used; CloudTrail shows both.
	alias, material string
}

// kmsInput holds the parameters of all operations.
type kmsInput struct {
	KeyID       string `json:"KeyId"`
	TargetKeyID string `json:"TargetKeyId"`
	AliasName   string
	Limit       *int
	Marker      string
	DryRun      bool

	Description           string
	KeyUsage              string
	KeySpec               string
	CustomerMasterKeySpec string
	Origin                string
	CustomKeyStoreID      string `json:"CustomKeyStoreId"`
	XksKeyID              string `json:"XksKeyId"`
	MultiRegion           bool
	ReplicaRegion         string
	PendingWindowInDays   *int

	IncludeKeyMaterial   string
	RotationPeriodInDays *int

	WrappingAlgorithm      string
	WrappingKeySpec        string
	ImportToken            []byte
	EncryptedKeyMaterial   []byte
	ValidTo                *float64
	ExpirationModel        string
	ImportType             string
	KeyMaterialDescription string
	KeyMaterialID          string `json:"KeyMaterialId"`

	PolicyName                     string
	Policy                         string
	BypassPolicyLockoutSafetyCheck bool

	GrantID           string `json:"GrantId"`
	GranteePrincipal  string
	RetiringPrincipal string
	Operations        []string
	Constraints       grantConstraints
	GrantTokens       []string
	Name              string

	Tags    []keyTag
	TagKeys []string

	Plaintext           []byte
	CiphertextBlob      []byte
	EncryptionContext   map[string]string
	EncryptionAlgorithm string
	NumberOfBytes       *int
	Recipient           map[string]any
	DryRunModifiers     []string
}

// kmsError is an exception of the KMS; its code is the SDK's name for it.
type kmsError struct{ code, message string }

// refused is the exception with the code and a message.
func refused(code, format string, args ...any) *kmsError {
	return &kmsError{code, fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) *kmsError {
	return refused("ValidationException", format, args...)
}

func outOfRange(member string, value, least, most int) *kmsError {
	return invalid("1 validation error detected: %s", violation(fmt.Sprintf("'%d'", value), member,
		fmt.Sprintf("Member must have value between %d and %d", least, most)))
}

// credentialScope is the part of a SigV4 Authorization header that names access key, Region and service:
// docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html.
var credentialScope = regexp.MustCompile(`Credential=([^/,\s]+)/\d{8}/([a-z0-9-]+)/kms/aws4_request`)

func (w *World) kmsCall(r *http.Request, body []byte, now time.Time) (*kmsCall, *kmsError) {
	c := &kmsCall{requestID: w.uuid(), userAgent: r.UserAgent(), now: now}
	c.operation, _ = strings.CutPrefix(r.Header.Get("X-Amz-Target"), "TrentService.")
	scope := credentialScope.FindStringSubmatch(r.Header.Get("Authorization"))
	if scope == nil {
		return c, refused("MissingAuthenticationTokenException", "Request is missing Authentication Token")
	}
	c.kmsCaller, c.region = w.aws.caller(scope[1]), scope[2]
	if partitionOf(c.region) == "" {
		return c, refused("InvalidSignatureException", "Credential should be scoped to a valid region, not '%s'.", c.region)
	}
	if json.Unmarshal(body, &c.input) != nil || json.Unmarshal(body, &c.parameters) != nil {
		return c, refused("SerializationException", "The request body is not a JSON object of the expected types.")
	}
	return c, nil
}

// callKMS runs the operation on its key, if its parameters are valid and the caller may. Writes and uses leave a CloudTrail
// record whether or not they succeeded.
func (w *World) callKMS(c *kmsCall) (output any, failed *kmsError) {
	row, known := kmsOperations[c.operation]
	if !known {
		return nil, refused("UnknownOperationException", "Operation %s is unknown here.", c.operation)
	}
	c.row = row
	output, failed = w.perform(c)
	if row.trail != reads {
		w.emitCall(c, output, failed)
		w.agenda.run(c.now) // what takes no time at all has happened when the caller gets the answer
	}
	return output, failed
}

func (w *World) perform(c *kmsCall) (output any, failed *kmsError) {
	if failed = checkParameters(c.row.input, c.parameters); failed != nil {
		return nil, failed
	}
	if c.row.key != nil {
		if c.key, failed = c.row.key(w, c); failed != nil {
			return nil, failed
		}
	}
	if failed = c.authorize(); failed != nil {
		return nil, failed
	}
	return c.row.run(w, c, c.key)
}

func (w *World) keyByID(c *kmsCall) (*awsKey, *kmsError)    { return w.findKey(c, c.input.KeyID, false) }
func (w *World) keyOrAlias(c *kmsCall) (*awsKey, *kmsError) { return w.findKey(c, c.input.KeyID, true) }

// anyKeyByID is keyByID where the key may be left out.
func (w *World) anyKeyByID(c *kmsCall) (*awsKey, *kmsError) {
	if c.input.KeyID == "" {
		return nil, nil
	}
	return w.keyByID(c)
}

// findKey resolves a key id or key ARN and, if the operation takes one, an alias name or alias ARN in the caller's Region.
func (w *World) findKey(c *kmsCall, given string, takesAlias bool) (*awsKey, *kmsError) {
	account, id := c.account, given
	if strings.HasPrefix(given, "arn:") {
		parts := strings.SplitN(given, ":", 6)
		switch {
		case len(parts) != 6 || parts[2] != "kms" || !accountPattern.MatchString(parts[4]) ||
			!strings.HasPrefix(parts[5], "key/") && !strings.HasPrefix(parts[5], "alias/"):
			return nil, c.invalidARN(given)
		case parts[3] != c.region:
			return nil, refused("NotFoundException", "Invalid arn %s", parts[3])
		}
		account, id = parts[4], strings.TrimPrefix(parts[5], "key/")
	}
	if strings.HasPrefix(id, "alias/") {
		if !takesAlias {
			return nil, refused("NotFoundException", "Invalid keyId '%s'", given)
		}
		if a := w.aws.alias(account, c.region, id); a != nil {
			return a.key, nil
		}
		return nil, refused("NotFoundException", "Alias arn:aws:kms:%s:%s:%s is not found.", c.region, account, id)
	}
	if k := w.aws.byRegionAndID[c.region+"/"+id]; k != nil && k.account == account {
		return k, nil
	}
	return nil, refused("NotFoundException", "Key 'arn:aws:kms:%s:%s:key/%s' does not exist", c.region, account, id)
}

// invalidARN is the error for an ARN of no key. The operations that are used with keys, and those on aliases, do not know
// InvalidArnException.
func (c *kmsCall) invalidARN(given string) *kmsError {
	code := "InvalidArnException"
	if c.row.trail == uses || c.input.AliasName != "" {
		code = "NotFoundException"
	}
	return refused(code, "%s is not a key ARN or an alias ARN.", given)
}

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

func (w *World) recordKMS(r *http.Request, c *kmsCall, failed *kmsError) {
	request := Request{Seq: w.requests.next(), Time: w.observed(c.now), API: "kms", Method: r.Method, Path: c.operation, Caller: c.region,
		Status: http.StatusOK, Outcome: "ok"}
	if failed != nil {
		request.Status, request.Outcome = http.StatusBadRequest, failed.code+": "+failed.message
	}
	w.requests.add(request)
}
