package kmsmodel

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/keyturn/keyturn/internal/cmek"

	"github.com/keyturn/keyturn/internal/simulator"
)

const account = "111122223333"

// answer is a reply of the KMS.
type answer struct {
	status     int
	code, text string
}

// call sends the input to the operation in us-east-1.
func call(t *testing.T, world *simulator.World, operation string, input any) answer {
	t.Helper()
	return callIn(t, world, "us-east-1", operation, input)
}

func callIn(t *testing.T, world *simulator.World, region, operation string, input any) answer {
	t.Helper()
	body, err := json.Marshal(input)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequest(http.MethodPost, "http://kms.test/", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Amz-Target", "TrentService."+operation)
	request.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+account+"/20260101/"+region+"/kms/aws4_request, SignedHeaders=host, Signature=0")
	response, err := simulator.Transport(world.Handler()).RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var failure struct {
		Type    string `json:"__type"`
		Message string
	}
	if response.StatusCode != http.StatusOK {
		if err := json.Unmarshal(data, &failure); err != nil {
			t.Fatalf("%s answered %d %s", operation, response.StatusCode, data)
		}
		return answer{response.StatusCode, failure.Type, failure.Message}
	}
	return answer{response.StatusCode, "", string(data)}
}

// simulated are the operations that the world says it has.
func simulated(t *testing.T, world *simulator.World) []string {
	t.Helper()
	for _, service := range world.Overview().Services {
		if service.Name == "AWS KMS" {
			return service.Operations
		}
	}
	t.Fatal("the world has no AWS KMS")
	return nil
}

// Keys of the worlds here, by what is special about them.
var keys = map[string]string{
	"enabled":          arn("us-east-1", account, "key/00000000-0000-4000-8000-000000000001"),
	"disabled":         arn("us-east-1", account, "key/00000000-0000-4000-8000-000000000002"),
	"pending deletion": arn("us-east-1", account, "key/00000000-0000-4000-8000-000000000003"),
	"imported":         arn("us-east-1", account, "key/00000000-0000-4000-8000-000000000004"),
	"primary":          arn("us-east-1", account, "key/mrk-00000000000000000000000000000005"),
	"replica":          arn("us-east-1", account, "key/mrk-00000000000000000000000000000006"),
	"denied":           arn("us-east-1", account, "key/00000000-0000-4000-8000-000000000007"),
	"shared":           arn("us-east-1", "444455556666", "key/00000000-0000-4000-8000-000000000008"),
	"foreign":          arn("us-east-1", "444455556666", "key/00000000-0000-4000-8000-000000000009"),
}

func arn(region, account, resource string) string {
	return "arn:aws:kms:" + region + ":" + account + ":" + resource
}

// keyIDs are all ways to name a key, right and wrong.
func keyIDs() map[string]string {
	ids := map[string]string{
		"an id": keys["enabled"][strings.LastIndex(keys["enabled"], "/")+1:], "an alias": "alias/enabled", "an alias ARN": arn("us-east-1", account, "alias/enabled"),
		"an unknown id": "00000000-0000-4000-8000-0000000000ff", "an unknown ARN": arn("us-east-1", account, "key/00000000-0000-4000-8000-0000000000ff"),
		"an unknown alias": "alias/none", "another Region": arn("eu-west-1", account, "key/00000000-0000-4000-8000-000000000001"),
		"half an ARN": "arn:aws:kms", "another service's ARN": "arn:aws:s3:::bucket", "pending import": "alias/pending-import", "nonsense": "!",
	}
	maps.Copy(ids, keys)
	return ids
}

// newWorld has all keys in their conditions.
func newWorld(t *testing.T) *simulator.World {
	t.Helper()
	statement := func(principals ...string) string {
		return `{"Statement":{"Effect":"Allow","Action":"kms:*","Resource":"*","Principal":{"AWS":["` + strings.Join(principals, `","`) + `"]}}}`
	}
	seed := simulator.Seed{Organization: simulator.DefaultSeed().Organization, AWSAccount: account}
	for _, name := range slices.Sorted(maps.Keys(keys)) {
		key := simulator.KeySeed{URI: cmek.KeyURI(keys[name]), Alias: strings.ReplaceAll(name, " ", "-")}
		switch name {
		case "disabled":
			key.Disabled = true
		case "imported":
			key.Origin = "EXTERNAL"
		case "replica":
			key.URI, key.Replicas = cmek.KeyURI(strings.Replace(keys[name], "us-east-1", "eu-west-1", 1)), []string{"us-east-1"}
		case "denied":
			key.Policy = statement("444455556666")
		case "shared":
			key.Policy = statement("444455556666", account)
		}
		seed.Keys = append(seed.Keys, key)
	}
	world, err := simulator.New(seed)
	if err != nil {
		t.Fatal(err)
	}
	made := call(t, world, "CreateKey", map[string]any{"Origin": "EXTERNAL"})
	var key struct{ KeyMetadata struct{ KeyID string } }
	if err := json.Unmarshal([]byte(made.text), &key); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		operation string
		input     map[string]any
	}{
		{"CreateAlias", map[string]any{"AliasName": "alias/pending-import", "TargetKeyId": key.KeyMetadata.KeyID}},
		{"ScheduleKeyDeletion", map[string]any{"KeyId": keys["pending deletion"]}},
	} {
		if got := call(t, world, step.operation, step.input); got.status != http.StatusOK {
			t.Fatalf("%s: %+v", step.operation, got)
		}
	}
	return world
}

// samples are parameters with which most calls succeed. Those of the same name mean the same in all operations.
func samples() map[string]any {
	return map[string]any{
		"KeyId": keys["enabled"], "TargetKeyId": keys["enabled"], "AliasName": "alias/new", "ReplicaRegion": "eu-north-1",
		"Policy":           `{"Statement":{"Effect":"Allow","Action":"kms:*","Resource":"*","Principal":{"AWS":"` + account + `"}}}`,
		"GranteePrincipal": "arn:aws:iam::" + account + ":role/r", "Operations": []string{"Encrypt"}, "GrantId": strings.Repeat("a", 64),
		"Tags": []map[string]string{{"TagKey": "team", "TagValue": "a"}}, "TagKeys": []string{"team"}, "Plaintext": blob(8), "CiphertextBlob": blob(80),
		"ImportToken": blob(32), "EncryptedKeyMaterial": blob(256), "WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048",
	}
}

// base are the required parameters of the operation.
func (m model) base(t *testing.T, operation string) map[string]any {
	t.Helper()
	input := map[string]any{}
	for _, name := range m.required(operation) {
		if input[name] = samples()[name]; input[name] == nil {
			t.Fatalf("%s: there is no sample of %s", operation, name)
		}
	}
	return input
}

func with(input map[string]any, name string, value any) map[string]any {
	changed := maps.Clone(input)
	changed[name] = value
	return changed
}

func TestTheOperationsAreThoseOfTheModel(t *testing.T) {
	m := kmsModel(t)
	world := newWorld(t)
	have := simulated(t, world)
	for name := range m.Operations {
		if got := call(t, world, name, map[string]any{}); (got.code == "UnknownOperationException") == slices.Contains(have, name) {
			t.Errorf("%s answers %+v; the page lists it: %t", name, got, slices.Contains(have, name))
		}
	}
	for _, name := range have {
		if _, known := m.Operations[name]; !known {
			t.Errorf("the model has no operation %s", name)
		}
	}
	t.Logf("%d of %d operations are simulated", len(have), len(m.Operations))
}

func TestRequiredParametersAreRequired(t *testing.T) {
	m := kmsModel(t)
	world := newWorld(t)
	for _, operation := range simulated(t, world) {
		for _, left := range m.required(operation) {
			input := m.base(t, operation)
			delete(input, left)
			want := "Value null at '" + lowerFirst(left) + "'"
			if got := call(t, world, operation, input); got.code != "ValidationException" || !strings.Contains(got.text, want) {
				t.Errorf("%s without %s answers %+v; want a ValidationException with %q", operation, left, got, want)
			}
		}
		if got := call(t, newWorld(t), operation, m.base(t, operation)); strings.Contains(got.text, "Value null") && operation != "Decrypt" {
			t.Errorf("%s with all that is required answers %+v", operation, got) // Decrypt needs a ciphertext that the model does not require
		}
	}
}

func TestParametersAreBoundAsTheModelBindsThem(t *testing.T) {
	m := kmsModel(t)
	world := newWorld(t)
	checked := 0
	for _, operation := range simulated(t, world) {
		for name, s := range m.parameters(operation) {
			for why, value := range m.bad(s) {
				checked++
				// Element names stand behind the parameter's.
				want := regexp.MustCompile(` at '` + lowerFirst(name) + `['.]`)
				if got := call(t, world, operation, with(m.base(t, operation), name, value)); got.code != "ValidationException" || !want.MatchString(got.text) {
					t.Errorf("%s with %s for %s answers %s: %.300s", operation, why, name, got.code, got.text)
				}
			}
			for why, value := range m.good(s) {
				checked++
				got := call(t, newWorld(t), operation, with(m.base(t, operation), name, value))
				if bound := regexp.MustCompile(`at '` + lowerFirst(name) + `['.].*(length|enum|pattern|(greater|less) than)`); bound.MatchString(got.text) {
					t.Errorf("%s with %s for %s answers %+v, which the model admits", operation, why, name, got)
				}
			}
			if wrong := wrongType(s); wrong != nil {
				checked++
				if got := call(t, world, operation, with(m.base(t, operation), name, wrong)); got.code != "SerializationException" {
					t.Errorf("%s with %v for %s answers %+v, want SerializationException", operation, wrong, name, got)
				}
			}
		}
	}
	t.Logf("%d values checked", checked)
	if checked < 300 {
		t.Errorf("only %d values were checked; is the model read?", checked)
	}
}

// bad are values that the model does not admit, each just outside.
func (m model) bad(s shape) map[string]any {
	bad := map[string]any{}
	switch s.Type {
	case "string":
		for why, text := range map[string]string{"a text too long": sized(s.Max, 1), "a text too short": sized(s.Min, -1), "a text of other signs": "a!\u0100\x01", "another word": "NOT_" + strings.Join(s.Enum, "")} {
			if !s.admits(text) {
				bad[why] = text
			}
		}
	case "integer":
		if s.Max != nil {
			bad["a number too large"] = *s.Max + 1
		}
		if s.Min != nil {
			bad["a number too small"] = *s.Min - 1
		}
	case "blob":
		if s.Max != nil {
			bad["too many bytes"] = blob(*s.Max + 1)
		}
		if s.Min != nil {
			bad["too few bytes"] = blob(*s.Min - 1)
		}
	case "list":
		for why, value := range m.bad(m.Shapes[s.Member.Shape]) {
			bad["an element with "+why] = []any{value}
		}
		if s.Max != nil {
			bad["too many elements"] = slices.Repeat([]any{"a"}, *s.Max+1)
		}
	case "structure":
		for _, name := range s.Required {
			fields := map[string]any{}
			for _, other := range s.Required {
				fields[other] = "a"
			}
			delete(fields, name)
			bad["no "+name] = fields
			for why, value := range m.bad(m.Shapes[s.Members[name].Shape]) {
				bad[why+" for "+name] = with(fields, name, value)
			}
		}
	}
	return bad
}

// good are values that the model admits, at its bounds.
func (m model) good(s shape) map[string]any {
	good := map[string]any{}
	switch s.Type {
	case "string":
		for why, text := range map[string]string{"the longest text": sized(s.Max, 0), "the shortest text": sized(s.Min, 0)} {
			if s.admits(text) {
				good[why] = text
			}
		}
		for _, word := range s.Enum {
			good["the word "+word] = word
		}
	case "blob":
		if s.Max != nil {
			good["the most bytes"] = blob(*s.Max)
		}
	}
	return good
}

// wrongType is a value of another type, nil if the model has any.
func wrongType(s shape) any {
	switch s.Type {
	case "string", "blob", "list", "map", "structure":
		return 7
	case "integer", "boolean", "timestamp":
		return "seven"
	}
	return nil
}

func sized(bound *int, more int) string {
	if bound == nil || *bound+more < 0 {
		return ""
	}
	return strings.Repeat("a", *bound+more)
}

func blob(n int) string { return base64.StdEncoding.EncodeToString(make([]byte, max(n, 0))) }

// interesting are parameters that matter to the operation beyond their form.
func (m model) interesting(operation string) map[string][]any {
	lockedOut := `{"Statement":{"Effect":"Allow","Action":"kms:*","Resource":"*","Principal":{"AWS":"444455556666"}}}`
	values := map[string][]any{
		"Marker": {"x"}, "GrantTokens": {[]string{"x"}}, "PolicyName": {"mine"}, "Policy": {"{}", "[", lockedOut, strings.Repeat(" ", 100) + lockedOut, `{"Statement":{"Sid":"` + strings.Repeat("a", 40000) + `"}}`},
		"GrantId": {"short"}, "AliasName": {"new", "alias/", "alias/aws/x", "alias/enabled", "alias/none"}, "ReplicaRegion": {"us-esat-1", "us-east-1", "cn-north-1"},
		"GranteePrincipal": {"somebody", "arn:aws:iam::" + account + ":root"}, "RetiringPrincipal": {"somebody"}, "ValidTo": {1, float64(time.Now().Add(time.Hour).Unix()), 1e11},
		"Tags":        {[]any{}, []map[string]string{{"TagKey": "aws:x", "TagValue": ""}}, []map[string]string{{"TagKey": "a", "TagValue": ""}, {"TagKey": "a", "TagValue": ""}}, manyTags()},
		"Constraints": {map[string]any{"EncryptionContextEquals": map[string]string{"a": "b"}}}, "Recipient": {map[string]any{}}, "CustomKeyStoreId": {"cks-1"}, "XksKeyId": {"x"},
		"Limit": {1, 1000}, "RotationPeriodInDays": {90}, "PendingWindowInDays": {1, 7, 31}, "NumberOfBytes": {1, 1024}, "KeyMaterialId": {strings.Repeat("a", 64)},
		"EncryptionContext": {map[string]string{"a": "b"}},
	}
	for name, s := range m.parameters(operation) {
		for _, word := range s.Enum {
			values[name] = append(values[name], word)
		}
		if s.Type == "boolean" {
			values[name] = append(values[name], true)
		}
		if list := m.Shapes[s.Member.Shape]; s.Type == "list" {
			for _, word := range list.Enum {
				values[name] = append(values[name], []string{word})
			}
		}
	}
	maps.DeleteFunc(values, func(name string, _ []any) bool { _, has := m.parameters(operation)[name]; return !has })
	return values
}

func manyTags() (tags []map[string]string) {
	for i := range 51 {
		tags = append(tags, map[string]string{"TagKey": fmt.Sprint(i), "TagValue": ""})
	}
	return tags
}

func TestEveryAnswerIsOneOfTheOperations(t *testing.T) {
	m := kmsModel(t)
	seen := map[string]bool{}
	for _, operation := range simulated(t, newWorld(t)) {
		admitted := append(m.errors(operation), "AccessDeniedException", "ValidationException")
		check := func(world *simulator.World, why string, input map[string]any) {
			t.Helper()
			got := call(t, world, operation, input)
			if got.code != "" && !slices.Contains(admitted, got.code) {
				t.Errorf("%s with %s answers %s, which is none of its errors: %s", operation, why, got.code, got.text)
			}
			seen[operation+" "+got.code] = true
			var output map[string]any
			if got.code != "" || got.text == "" {
				return
			}
			if err := json.Unmarshal([]byte(got.text), &output); err != nil {
				t.Fatal(err)
			}
			if unknown := m.unknownIn(m.Operations[operation].Output.Shape, output); len(unknown) > 0 {
				t.Errorf("%s with %s answers what the model does not have: %q", operation, why, unknown)
			}
		}
		base := m.base(t, operation)
		ids := map[string]string{"the enabled key": keys["enabled"]}
		on := ""
		for _, name := range []string{"KeyId", "TargetKeyId"} {
			if _, has := m.parameters(operation)[name]; has {
				ids, on = keyIDs(), name
			}
		}
		for why, id := range ids {
			input := maps.Clone(base)
			if on != "" {
				input[on] = id
			}
			world := newWorld(t)
			check(world, why, input)
			check(world, why+" once more", input)
			for name, values := range m.interesting(operation) {
				for _, value := range values {
					check(newWorld(t), fmt.Sprintf("%s, %s %.60v", why, name, value), with(input, name, value))
				}
			}
		}
		withCiphertext(t, operation, check)
	}
	// A test that sees nothing proves nothing: these are sure to be among what was answered.
	for _, want := range []string{"Encrypt ", "Encrypt DisabledException", "Encrypt KMSInvalidStateException", "CreateGrant InvalidArnException", "Decrypt IncorrectKeyException",
		"PutKeyPolicy MalformedPolicyDocumentException", "CreateAlias AlreadyExistsException", "TagResource TagException", "ImportKeyMaterial InvalidImportTokenException",
		"ReplicateKey UnsupportedOperationException", "DescribeKey AccessDeniedException", "GetParametersForImport ", "DeleteImportedKeyMaterial ", "RotateKeyOnDemand ConflictException"} {
		if !seen[want] {
			t.Errorf("no call had the outcome %q", want)
		}
	}
	t.Logf("%d outcomes of operations", len(seen))
}

// withCiphertext has Decrypt meet real ciphertext, of keys in every condition.
func withCiphertext(t *testing.T, operation string, check func(*simulator.World, string, map[string]any)) {
	t.Helper()
	if operation != "Decrypt" {
		return
	}
	world := newWorld(t)
	made := call(t, world, "Encrypt", map[string]any{"KeyId": keys["enabled"], "Plaintext": blob(8)})
	var encrypted struct{ CiphertextBlob string }
	if err := json.Unmarshal([]byte(made.text), &encrypted); err != nil {
		t.Fatal(err)
	}
	for why, id := range keyIDs() {
		check(world, "ciphertext of another key, "+why, map[string]any{"CiphertextBlob": encrypted.CiphertextBlob, "KeyId": id})
	}
	check(world, "ciphertext without a key", map[string]any{"CiphertextBlob": encrypted.CiphertextBlob})
	for _, step := range []string{"DisableKey", "ScheduleKeyDeletion"} {
		call(t, world, step, map[string]any{"KeyId": keys["enabled"]})
		check(world, "ciphertext after "+step, map[string]any{"CiphertextBlob": encrypted.CiphertextBlob})
	}
}

func TestTheRegionsAreBotocores(t *testing.T) {
	endpoints := readModel[struct {
		Partitions []struct {
			Partition string
			Services  map[string]struct{ Endpoints map[string]any }
		}
	}](t, "endpoints.json")
	world, known := newWorld(t), 0
	for _, p := range endpoints.Partitions {
		for region := range p.Services["kms"].Endpoints {
			if strings.Contains(region, "fips") || strings.Contains(region, "Fips") {
				continue
			}
			known++
			if got := callIn(t, world, region, "ListKeys", map[string]any{}); got.status != http.StatusOK {
				t.Errorf("a call in %s answers %+v", region, got)
			}
			if got := callIn(t, world, region+"0", "ListKeys", map[string]any{}); got.code != "InvalidSignatureException" {
				t.Errorf("a call in %s0 answers %+v", region, got)
			}
		}
	}
	if known < 30 {
		t.Errorf("botocore has %d Regions; is the file read?", known)
	}
}

func lowerFirst(name string) string {
	runes := []rune(name)
	runes[0] = unicode.ToLower(runes[0])
	return string(runes)
}
