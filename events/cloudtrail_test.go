package events

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/cmek"
)

// record wraps fields of a CloudTrail record in an EventBridge event, over those of a plain one.
func recordOf(service, call, region, fields string) string {
	return `{"version":"0","id":"e","detail-type":"AWS API Call via CloudTrail","source":"aws.` + service + `","account":"111122223333","region":"` + region +
		`","time":"2026-03-02T08:14:27Z","detail":{"eventVersion":"1.11","eventSource":"` + service + `.amazonaws.com","eventName":"` + call +
		`","awsRegion":"` + region + `","eventID":"e1","eventType":"AwsApiCall","recipientAccountId":"111122223333"` + fields + `}}`
}

func TestCaller_isTheParsedAccount(t *testing.T) {
	const role, stranger = `"arn":"arn:aws:sts::111122223333:assumed-role/Admin/444455556666"`, `"arn":"arn:aws:iam::999900001111:user/x444455556666"`
	for identity, want := range map[string]string{
		`{"type":"AssumedRole",` + role + `,"accountId":"111122223333"}`:                                         "111122223333",
		`{"type":"AssumedRole",` + role + `}`:                                                                    "111122223333",
		`{"type":"AssumedRole",` + role + `,"accountId":"444455556666"}`:                                         "444455556666",
		`{"type":"IAMUser",` + stranger + `}`:                                                                    "999900001111",
		`{"type":"AWSAccount","accountId":"444455556666","principalId":"AROAEXAMPLE:s"}`:                         "444455556666",
		`{"type":"Root","accountId":"111122223333","invokedBy":"AWS Internal"}`:                                  "111122223333",
		`{"type":"AssumedRole",` + role + `,"accountId":"111122223333","invokedBy":"sns.amazonaws.com"}`:         "111122223333",
		`{` + stranger + `,"invokedBy":"sns.amazonaws.com"}`:                                                     "999900001111",
		`{"type":"AWSService","invokedBy":"lambda.amazonaws.com"}`:                                               "",
		`{"type":"AWSService","invokedBy":"lambda.amazonaws.com","accountId":"111122223333"}`:                    "",
		`{"accountId":"111122223333","invokedBy":"AWS Internal"}`:                                                "",
		`{"accountId":"111122223333"}`:                                                                           "111122223333",
		`{"type":"Unknown","accountId":"ANONYMOUS_PRINCIPAL","principalId":"444455556666"}`:                      "",
		`{"type":"AssumedRole","accountId":"1111222233334","arn":"arn:aws:sts::11112222333:assumed-role/R/s"}`:   "",
		`{"type":"AssumedRole","accountId":"","arn":"444455556666"}`:                                             "",
		`{"type":"SAMLUser","principalId":"444455556666:x","userName":"arn:aws:iam::444455556666:user/mallory"}`: "",
		`{}`: "",
	} {
		if got := decodeOne(t, recordOf("sts", "AssumeRole", "us-east-1", `,"userIdentity":`+identity)).Caller; got != want {
			t.Errorf("%s is of account %q, want %q", identity, got, want)
		}
	}
}

func TestIdentity_isAFullARNWhereTheRecordAllows(t *testing.T) {
	const cmekRole = "arn:aws:iam::111122223333:role/cmek"
	by := func(partition string) string {
		return `,"userIdentity":{"type":"IAMUser","arn":"arn:` + partition + `:iam::111122223333:user/eve","accountId":"111122223333"}`
	}
	named := func(parameters string) string { return `,"requestParameters":` + parameters }
	denied := func(user, on string) string {
		return `,"requestParameters":null,"errorCode":"AccessDenied","errorMessage":"User: ` + user + ` is not authorized to perform: x:Y` + on + `"`
	}
	const eve = "arn:aws:iam::111122223333:user/eve"
	for _, tc := range []struct {
		name, service, call, region, fields string
		want                                cmek.Principal
		account                             string // 111122223333 if empty
	}{
		{"a name at its account", "iam", "DeleteRole", "us-east-1", named(`{"roleName":"cmek"}`), cmekRole, ""},
		{"every character of a name", "iam", "DeleteRole", "us-east-1", named(`{"roleName":"a_+=,.@-Z9"}`), "arn:aws:iam::111122223333:role/a_+=,.@-Z9", ""},
		{"the partition of the caller", "iam", "DeleteRole", "us-east-1", by("aws-eusc") + named(`{"roleName":"cmek"}`), "arn:aws-eusc:iam::111122223333:role/cmek", ""},
		{"the partition of the Region", "iam", "DeleteRole", "us-gov-west-1", named(`{"roleName":"cmek"}`), "arn:aws-us-gov:iam::111122223333:role/cmek", ""},
		{"no partition from an unknown one", "iam", "DeleteRole", "us-east-1", by("aws-mars") + named(`{"roleName":"cmek"}`), cmekRole, ""},
		{"no partition from what is no ARN", "iam", "DeleteRole", "us-east-1", `,"userIdentity":{"type":"IAMUser","arn":"urn:aws-cn:iam::1:user/eve"}` + named(`{"roleName":"cmek"}`), cmekRole, ""},
		{"no partition from an ARN that is cut", "iam", "DeleteRole", "us-east-1", `,"userIdentity":{"type":"IAMUser","arn":"arn:aws-cn"}` + named(`{"roleName":"cmek"}`), cmekRole, ""},
		{"the partition of the caller's role", "iam", "DeleteRole", "us-east-1", `,"userIdentity":{"type":"AssumedRole","sessionContext":{"sessionIssuer":{"arn":"arn:aws-cn:iam::1:role/r"}}}` + named(`{"roleName":"cmek"}`), "arn:aws-cn:iam::111122223333:role/cmek", ""},
		{"a name that IAM would refuse", "iam", "DeleteRole", "us-east-1", named(`{"roleName":"a:b"}`), "a:b", ""},
		{"a name that is too long", "iam", "DeleteRole", "us-east-1", named(`{"roleName":"` + strings.Repeat("a", 65) + `"}`), cmek.Principal(strings.Repeat("a", 65)), ""},
		{"the longest name", "iam", "DeleteRole", "us-east-1", named(`{"roleName":"` + strings.Repeat("a", 64) + `"}`), cmek.Principal("arn:aws:iam::111122223333:role/" + strings.Repeat("a", 64)), ""},
		{"no name", "iam", "DeleteRole", "us-east-1", named(`null`), "", ""},
		{"a call that is not about a role", "iam", "CreatePolicyVersion", "us-east-1", named(`{"policyArn":"arn:aws:iam::111122223333:policy/p"}`), "", ""},

		{"an ARN in another account", "sts", "AssumeRole", "us-east-1", named(`{"roleArn":"arn:aws:iam::444455556666:role/path/cmek"}`), "arn:aws:iam::444455556666:role/path/cmek", "444455556666"},
		{"the ARN of a resource", "sts", "AssumeRole", "us-east-1", `,"resources":[{"type":"AWS::IAM::Role","ARN":"` + cmekRole + `"}]`, cmekRole, ""},
		{"a resource of another type", "sts", "AssumeRole", "us-east-1", `,"resources":[{"type":"AWS::IAM::User","ARN":"` + cmekRole + `"}]`, "", ""},
		{"an ARN rather than a text that is none", "sts", "AssumeRole", "us-east-1", named(`{"roleArn":"role of mine"}`) + `,"resources":[{"type":"AWS::IAM::Role","ARN":"` + cmekRole + `"}]`, cmekRole, ""},

		{"an ARN in the message", "sts", "AssumeRole", "us-east-1", denied(eve, " on resource: "+cmekRole), cmekRole, ""},
		{"an ARN with a reason after it", "sts", "AssumeRole", "us-east-1", denied(eve, " on resource: "+cmekRole+" because no identity-based policy allows it"), cmekRole, ""},
		{"an ARN at the end of a sentence", "sts", "AssumeRole", "us-east-1", denied(eve, " on resource: "+cmekRole+"."), cmekRole, ""},
		{"a path with dots", "sts", "AssumeRole", "us-east-1", denied(eve, " on resource: arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/cmek"),
			"arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/cmek", ""},
		{"a name in the message", "iam", "UpdateAssumeRolePolicy", "us-east-1", denied(eve, " on resource: role cmek with an explicit deny"), cmekRole, ""},
		{"another thing in the message", "iam", "CreatePolicyVersion", "us-east-1", denied(eve, " on resource: policy arn:aws:iam::111122223333:policy/p"), "", ""},
		{"an ARN of another kind in the message", "iam", "DeletePolicy", "us-east-1", denied(eve, " on resource: arn:aws:iam::111122223333:policy/p"), "", ""},
		{"a message without a resource", "sts", "AssumeRole", "us-east-1", denied(eve, ""), "", ""},
		{"an empty resource", "sts", "AssumeRole", "us-east-1", denied(eve, " on resource: "), "", ""},
		// The path of a user may hold whatever its owner likes.
		{"a user whose path looks like a role", "sts", "AssumeRole", "us-east-1", denied("arn:aws:iam::111122223333:user/,arn:aws:iam::111122223333:role/other,/eve", " on resource: "+cmekRole), cmekRole, ""},
		{"such a user without a resource", "sts", "AssumeRole", "us-east-1", denied("arn:aws:iam::111122223333:user/,arn:aws:iam::111122223333:role/other,/eve", ""), "", ""},
	} {
		want := tc.account
		if want == "" {
			want = "111122223333"
		}
		e := decodeOne(t, recordOf(tc.service, tc.call, tc.region, tc.fields))
		if e.Identity != tc.want || e.Account != want {
			t.Errorf("%s: identity is %q in account %q, want %q in %q", tc.name, e.Identity, e.Account, tc.want, want)
		}
	}
}

func TestAccount_isWhereTheThingIs(t *testing.T) {
	for _, tc := range []struct{ service, call, fields, want string }{
		{"organizations", "MoveAccount", `,"requestParameters":{"accountId":"444455556666"}`, "444455556666"},
		{"organizations", "AttachPolicy", `,"requestParameters":{"targetId":"444455556666"}`, "444455556666"},
		{"organizations", "RemoveAccountFromOrganization", `,"resources":[{"ARN":"arn:aws:organizations::111122223333:account/o-example/444455556666"}]`, "444455556666"},
		{"organizations", "AttachPolicy", `,"requestParameters":{"targetId":"ou-examplerootid111-exampleouid111"}`, "111122223333"},
		{"organizations", "AttachPolicy", `,"requestParameters":{"targetId":"ou-e"},"resources":[{"ARN":"arn:aws:organizations::1:account/o/444455556666"}]`, "111122223333"},
		{"organizations", "CloseAccount", `,"requestParameters":{"accountId":"44445555666"}`, "111122223333"},
		{"organizations", "LeaveOrganization", `,"requestParameters":null`, "111122223333"},
		{"organizations", "LeaveOrganization", `,"resources":[{"ARN":"arn:aws:kms::1:key/444455556666"}]`, "111122223333"},
		{"account", "DisableRegion", `,"requestParameters":{"accountId":"444455556666","regionName":"us-west-2"}`, "444455556666"},
		{"account", "DisableRegion", `,"requestParameters":{"regionName":"us-west-2"}`, "111122223333"},
	} {
		if got := decodeOne(t, recordOf(tc.service, tc.call, "us-east-1", tc.fields)).Account; got != tc.want {
			t.Errorf("%s with %s is about account %q, want %q", tc.call, tc.fields, got, tc.want)
		}
	}
}

func TestOmittedParametersAreSaidToBe(t *testing.T) {
	for parameters, want := range map[string]string{
		`{"reason":"requestParameters too large","omitted":true}`:                       "true",
		`{"reason":"requestParameters too large","omitted":true,"originalSize":118000}`: "true",
		`{"reason":"requestParameters too large","omitted":false}`:                      "",
		`{"reason":"requestParameters too large"}`:                                      "",
		`{"omitted":true}`:                 "",
		`{"roleName":"cmek"}`:              "",
		`{"roleName":{"omitted":true}}`:    "",
		`null`:                             "",
		`"requestParameters too large"`:    "",
		`{"reason":"","omitted":true}`:     "",
		`{"reason":null,"omitted":"true"}`: "",
	} {
		e := decodeOne(t, recordOf("iam", "PutRolePolicy", "us-east-1", `,"requestParameters":`+parameters))
		if got := e.Parameters["omitted"]; got != want || want != "" && e.Identity != "" {
			t.Errorf("%s is omitted: %q with identity %q, want %q without", parameters, got, e.Identity, want)
		}
	}
}

func TestAWSManagedKeysAreNamedByTheirAlias(t *testing.T) {
	const key, other = `{"type":"AWS::KMS::Key","ARN":"` + sampleARN + `"}`, `{"type":"AWS::KMS::Key","ARN":"arn:aws:kms:us-west-2:111122223333:key/other"}`
	const alias = "arn:aws:kms:us-west-2:111122223333:alias/aws/ssm"
	for _, tc := range []struct {
		name, fields string
		want         cmek.KeyURI
	}{
		{"an alias with its key", `,"requestParameters":{"keyId":"alias/aws/ssm"},"resources":[` + key + `]`, alias},
		{"an alias ARN with its key", `,"requestParameters":{"keyId":"` + alias + `"},"resources":[` + key + `]`, alias},
		{"an alias with its key twice", `,"requestParameters":{"keyId":"alias/aws/ssm"},"resources":[` + key + `,` + key + `]`, alias},
		{"an alias with its key and its ARN", `,"requestParameters":{"keyId":"alias/aws/ssm"},"resources":[{"ARN":"` + alias + `"},` + key + `]`, alias},
		{"an alias alone", `,"requestParameters":{"keyId":"alias/aws/ssm"},"resources":null`, alias},
		// Near misses: the key decides.
		{"another key beside it", `,"requestParameters":{"keyId":"alias/aws/ssm"},"resources":[` + key + `,` + other + `]`, sampleARN},
		{"an alias of the customer's", `,"requestParameters":{"keyId":"alias/awsome/ssm"},"resources":[` + key + `]`, sampleARN},
		{"an alias that looks like one", `,"requestParameters":{"keyId":"alias/AWS/ssm"},"resources":[` + key + `]`, sampleARN},
		{"the destination of a re-encryption", `,"requestParameters":{"destinationKeyId":"alias/aws/ssm"},"resources":[` + key + `]`, sampleARN},
		{"an alias that is moved", `,"requestParameters":{"aliasName":"alias/aws/ssm","targetKeyId":"` + sampleARN + `"},"resources":[` + key + `]`, sampleARN},
	} {
		e := decodeOne(t, recordOf("kms", "Decrypt", "us-west-2", tc.fields))
		if e.Key != tc.want || e.Key.AWSManaged() != (tc.want == alias) {
			t.Errorf("%s: key is %s, want %s", tc.name, e.Key, tc.want)
		}
	}
}

func TestDeniedCallsAreAboutWhatTheyWereDeniedOn(t *testing.T) {
	const other = "arn:aws:kms:us-west-2:111122223333:key/other"
	for message, want := range map[string]cmek.KeyURI{
		"User: arn:aws:iam::111122223333:user/eve is not authorized to perform: kms:Decrypt on resource: " + sampleARN + " because":                 sampleARN,
		"User: arn:aws:iam::111122223333:user/," + other + ",/eve is not authorized to perform: kms:Decrypt on resource: " + sampleARN + " because": sampleARN,
		sampleARN + " is disabled.":                          sampleARN,
		"Key '" + sampleARN + "' does not exist":             sampleARN,
		"The ciphertext refers to a key that does not exist": "",
	} {
		e := decodeOne(t, recordOf("kms", "Decrypt", "us-west-2", `,"errorCode":"AccessDenied","errorMessage":"`+message+`"`))
		if e.Key != want {
			t.Errorf("%q is about %q, want %q", message, e.Key, want)
		}
	}
}

func TestPartitionOfEachRegion(t *testing.T) {
	for region, want := range map[string]string{
		"us-east-1": "aws", "eu-central-2": "aws", "ap-southeast-7": "aws", "": "aws", "us-isoland-1": "aws", "cn": "aws", "eu-sc-1": "aws",
		"cn-north-1": "aws-cn", "us-gov-east-1": "aws-us-gov", "us-iso-east-1": "aws-iso", "us-isob-east-1": "aws-iso-b", "eu-isoe-west-1": "aws-iso-e",
		"us-isof-south-1": "aws-iso-f", "eusc-de-east-1": "aws-eusc",
	} {
		if got := partition(region); got != want || !slices.Contains(partitions, got) {
			t.Errorf("Region %q is in partition %s, want %s", region, got, want)
		}
		key := cmek.KeyURI("arn:" + want + ":kms:" + region + ":111122223333:key/" + sampleKeyID)
		if region == "" || region == "cn" {
			continue
		}
		if got := decodeOne(t, recordOf("kms", "DisableKey", region, `,"requestParameters":{"keyId":"`+sampleKeyID+`"}`)).Key; got != key {
			t.Errorf("a bare key id in Region %q is %s, want %s", region, got, key)
		}
	}
}

// What others read of Parameters, word by word: a word that is not here reaches nobody and is not decoded.
func TestParameters_areThoseThatAreRead(t *testing.T) {
	read := []string{
		// how bad it is
		"pending_window_days", "rotation_period_days", "expiration_model", "bypass_policy_lockout_safety_check", "omitted", "policy_arn", "state", "via", "tags", "set_as_default",
		// what it is about
		"custom_key_store_id", "policy_id", "target", "region_name", "trail", "rule", "event_bus", "alarm", "topic", "subscription", "schedule",
		"schedule_group", "function", "secret", "queue", "table",
		// what the recovery steps and the texts of an alert need besides (functions/alerting/risk)
		"key_state", "valid_to", "key_material_id", "grantee", "operations", "grant_id", "alias", "replica_region", "primary_region", "policy_name",
		"version_id", "policy_type", "source_parent", "destination_parent",
	}
	decoded := map[string]bool{"omitted": true, "via": true} // set by readers of their own
	for change, list := range facts {
		if !slices.ContainsFunc(Table(), func(r Row) bool { return r.Change == change }) {
			t.Errorf("%q has parameters and no row", change)
		}
		for _, f := range list {
			decoded[f.word] = true
		}
	}
	slices.Sort(read)
	if got := slices.Sorted(maps.Keys(decoded)); !slices.Equal(got, read) {
		t.Errorf("decoded are %q\nwant          %q", got, read)
	}
	seen := map[string]bool{}
	for _, file := range samples(t, "testdata/*.json") {
		for _, e := range mustDecode(t, file) {
			for word := range e.Parameters {
				seen[word] = true
			}
		}
	}
	if got := slices.Sorted(maps.Keys(seen)); !slices.Equal(got, read) {
		t.Errorf("the samples have %q\nwant             %q", got, read)
	}
}

func mustDecode(t *testing.T, file string) []cmek.Event {
	t.Helper()
	decoded, err := Decode(read(t, file))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return decoded
}

func TestDecode_wantsAnEnvelope(t *testing.T) {
	for _, payload := range []string{`{"source":"aws.kms"}`, `{"detail-type":"KMS CMK Rotation"}`, `{"source":"aws.kms","detail-type":""}`} {
		if decoded, err := Decode([]byte(payload)); err == nil || decoded != nil {
			t.Errorf("%s: got %v, want an error", payload, decoded)
		}
	}
}

func TestDecode_refusesWhatEventBridgeCannotDeliver(t *testing.T) {
	event := string(read(t, "testdata/cloudtrail-disablekey.json"))
	for size, fits := range map[int]bool{len(event): true, largest: true, largest + 1: false, 8 * largest: false} {
		decoded, err := Decode([]byte(event + strings.Repeat(" ", size-len(event))))
		if (err == nil) != fits || (len(decoded) == 1) != fits {
			t.Errorf("%d bytes: got %v and error %v, want it taken: %t", size, decoded, err, fits)
		}
	}
}

// What callers choose (names of sessions and users, paths, the user agent) decides nothing but who they are said to be.
func TestCallersChooseNothingThatDecides(t *testing.T) {
	call := func(session, path, agent string) cmek.Event {
		return decodeOne(t, recordOf("sts", "AssumeRole", "us-east-1", `,"userAgent":"`+agent+`","errorCode":"AccessDenied","userIdentity":{"type":"AssumedRole","principalId":"AROAEXAMPLE:`+session+
			`","arn":"arn:aws:sts::999900001111:assumed-role/Admin/`+session+`","accountId":"999900001111","userName":"`+session+
			`","sessionContext":{"sessionIssuer":{"arn":"arn:aws:iam::999900001111:role/`+path+`Admin","userName":"Admin"}}},"requestParameters":{"roleSessionName":"`+session+
			`","sourceIdentity":"`+session+`"},"errorMessage":"User: arn:aws:iam::999900001111:user/`+path+session+` is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::111122223333:role/cmek"`))
	}
	decisive := func(e cmek.Event) cmek.Event {
		e.Principal, e.Issuer = "", ""
		return e
	}
	want := decisive(call("s", "", "aws-cli"))
	if want.Caller != "999900001111" || want.Identity != "arn:aws:iam::111122223333:role/cmek" || want.Account != "111122223333" {
		t.Fatalf("decoded %+v", want)
	}
	for _, hostile := range []string{"444455556666", "111122223333", "cmek", "arn:aws:iam::111122223333:role/cmek", "arn:aws:iam::444455556666:root", "AWS Internal",
		"cloudformation.amazonaws.com", ",arn:aws:iam::111122223333:role/other,", "role", "AccessDenied", "DryRunOperationException", "on resource:", ":role/x"} {
		for i, e := range []cmek.Event{call(hostile, "", "a"), call("s", hostile+"/", "a"), call("s", "", hostile)} {
			if i == 1 && strings.Contains(hostile, " ") {
				continue // no path has spaces
			}
			if got := decisive(e); !reflect.DeepEqual(got, want) {
				t.Errorf("%q in place %d decides: %+v, want %+v", hostile, i, got, want)
			}
		}
	}
}
