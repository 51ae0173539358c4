package amazon_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// fakeKMS answers the read calls of AWS KMS (JSON 1.1), and AssumeRole of STS, for the keys it is given.
type fakeKMS struct {
	t        *testing.T
	endpoint string
	keys     map[cmek.KeyURI]fakeKey

	mu      sync.Mutex
	calls   []string
	assumed []string
}

type fakeKey struct {
	// metadata is KeyMetadata; what every key has is filled in.
	metadata map[string]any
	// rotations are the entries of ListKeyRotations with all key material, answered two on a page.
	rotations []map[string]any
	onDemand  time.Time
	// fails maps an operation to the code of the error with which it is answered.
	fails map[string]string
}

var created = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

func newFakeKMS(t *testing.T, keys map[cmek.KeyURI]fakeKey) *fakeKMS {
	f := &fakeKMS{t: t, keys: keys}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	f.endpoint = server.URL
	return f
}

func (f *fakeKMS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, operation, isKMS := strings.Cut(r.Header.Get("X-Amz-Target"), "TrentService.")
	if !isKMS {
		f.assumeRole(w, r)
		return
	}
	var input struct {
		KeyID              cmek.KeyURI `json:"KeyId"`
		IncludeKeyMaterial string
		Marker             string
	}
	if err := json.NewDecoder(r.Body).Decode(&input); err != nil {
		f.t.Errorf("%s: decode request: %v", operation, err)
	}
	if region := "/" + input.KeyID.Location() + "/kms/"; !strings.Contains(r.Header.Get("Authorization"), region) {
		f.t.Errorf("%s of %s is not signed for the key's Region", operation, input.KeyID)
	}
	if operation == "ListKeyRotations" && input.IncludeKeyMaterial != "ALL_KEY_MATERIAL" {
		f.t.Errorf("%s asks for %q, want all key material: the first has no rotation", operation, input.IncludeKeyMaterial)
	}
	f.calls = append(f.calls, operation)
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	key, exists := f.keys[input.KeyID]
	code := key.fails[operation]
	if !exists {
		code = "NotFoundException"
	}
	if code != "" {
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]string{"__type": code, "message": "no"})
		return
	}
	_ = json.NewEncoder(w).Encode(key.answer(operation, input.KeyID, input.Marker))
}

func (k fakeKey) answer(operation string, uri cmek.KeyURI, marker string) map[string]any {
	switch operation {
	case "DescribeKey":
		metadata := map[string]any{
			"KeyId": uri.ID(), "Arn": uri, "KeyState": "Enabled", "KeySpec": "SYMMETRIC_DEFAULT", "KeyUsage": "ENCRYPT_DECRYPT", "Origin": "AWS_KMS",
			"CreationDate": created.Unix(),
		}
		for name, value := range k.metadata {
			metadata[name] = value
		}
		return map[string]any{"KeyMetadata": metadata}
	case "ListKeyRotations":
		const pageSize = 2
		var start int
		_, _ = fmt.Sscan(marker, &start)
		end := min(start+pageSize, len(k.rotations))
		page := map[string]any{"Rotations": k.rotations[start:end], "Truncated": end < len(k.rotations)}
		if end < len(k.rotations) {
			page["NextMarker"] = fmt.Sprint(end)
		}
		return page
	}
	status := map[string]any{"KeyRotationEnabled": true}
	if !k.onDemand.IsZero() {
		status["OnDemandRotationStartDate"] = k.onDemand.Unix()
	}
	return status
}

func (f *fakeKMS) assumeRole(w http.ResponseWriter, r *http.Request) {
	role := r.FormValue("RoleArn")
	f.assumed = append(f.assumed, role+" "+r.FormValue("ExternalId")+" "+r.FormValue("RoleSessionName"))
	if strings.HasSuffix(role, "/denied") {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>`)
		return
	}
	fmt.Fprintf(w, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
		<AccessKeyId>assumed</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>
		<Expiration>%s</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
}

// rotated is an entry of ListKeyRotations, some days after the key's creation.
func rotated(days int, material string) map[string]any {
	entry := map[string]any{"RotationDate": rotatedAfter(days).Unix(), "RotationType": "AUTOMATIC"}
	if material != "" {
		entry["KeyMaterialId"] = material
	}
	return entry
}

func rotatedAfter(days int) time.Time { return created.AddDate(0, 0, days) }

// undated is an entry of ListKeyRotations for a material that no rotation made.
func undated(material, state string) map[string]any {
	return map[string]any{"KeyMaterialId": material, "KeyMaterialState": state}
}

func material(id string, began time.Time) cmek.KeyVersionInfo {
	return cmek.KeyVersionInfo{Version: cmek.MaterialVersion(id), State: cmek.KeyEnabled, BecameCurrent: began}
}
