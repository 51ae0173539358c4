package events

import (
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

func TestKeyOfRecord_takesWhatNamesAKey(t *testing.T) {
	resource := func(kind, arn string) string {
		return `,"resources":[{"type":"` + kind + `","ARN":"` + arn + `"}]`
	}
	for _, tc := range []struct {
		name, call, fields string
		want               cmek.KeyURI
	}{
		{"a key by its ARN alone", "DisableKey", resource("", sampleARN), sampleARN},
		{"a key by its type", "DisableKey", resource("AWS::KMS::Key", sampleKeyID), sampleARN},
		{"no key among other types", "DisableKey", resource("AWS::IAM::Role", "role of mine"), ""},
		{"no key of another service", "DisableKey", resource("AWS::KMS::Key", "arn:aws:s3:::bucket/key"), ""},
		{"the metadata of a new key", "CreateKey", `,"responseElements":{"keyMetadata":{"arn":"` + sampleARN + `"}}`, sampleARN},
		{"metadata that is no object", "CreateKey", `,"responseElements":{"keyMetadata":"` + sampleARN + `"}`, ""},
	} {
		if got := decodeOne(t, recordOf("kms", tc.call, "us-west-2", tc.fields)).Key; got != tc.want {
			t.Errorf("%s: key is %q, want %q", tc.name, got, tc.want)
		}
	}
	for _, wrong := range []string{"urn:aws:s3:::bucket", "arn:aws", "a:b:c:d"} {
		if decoded, err := Decode([]byte(recordOf("kms", "DisableKey", "us-west-2", resource("AWS::KMS::Key", wrong)))); err == nil {
			t.Errorf("the key %q was taken: %v", wrong, decoded)
		}
	}
}

func TestTextsAreCutAtTheirLimit(t *testing.T) {
	const limit = 4096
	for length, kept := range map[int]bool{limit - 1: true, limit: true, limit + 1: false} {
		name := strings.Repeat("x", length)
		got := decodeOne(t, recordOf("sns", "DeleteTopic", "us-west-2", `,"requestParameters":{"topicArn":"`+name+`"}`)).Parameters["topic"]
		if (got == name) != kept || len(got) > limit+len("…") || !strings.HasPrefix(name, strings.TrimSuffix(got, "…")) {
			t.Errorf("of %d bytes %d are kept, want all: %t", length, len(got), kept)
		}
	}
	for length, kept := range map[int]bool{79: true, 80: true, 81: false} {
		version := "9." + strings.Repeat("x", length-2)
		_, err := Decode([]byte(strings.Replace(recordOf("sns", "DeleteTopic", "us-west-2", ""), "1.11", version, 1)))
		if err == nil || strings.Contains(err.Error(), version+`"`) != kept {
			t.Errorf("the error about a version of %d bytes is %v, want it in full: %t", length, err, kept)
		}
	}
	for length, fits := range map[int]bool{127: true, 128: true, 129: false} {
		event := strings.Replace(recordOf("sns", "DeleteTopic", "us-west-2", ""), `"e1"`, `"`+strings.Repeat("e", length)+`"`, 1)
		if _, err := Decode([]byte(event)); (err == nil) != fits {
			t.Errorf("an event id of %d characters: %v, want it taken: %t", length, err, fits)
		}
	}
}

func TestInstant_keepsTheYearsThatCanBeWritten(t *testing.T) {
	for text, want := range map[string]time.Time{
		"0001-01-01T00:00:01Z":      time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC),
		"9999-12-31T23:59:59Z":      time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
		"0000-12-31T23:59:59Z":      {},
		"0001-01-01T00:00:00+01:00": {},
		"9999-12-31T23:59:59-00:01": {},
	} {
		if got := instant(text); !got.Equal(want) {
			t.Errorf("%s is %s, want %s", text, got, want)
		}
	}
}

func TestForeignNoticesMayHaveFieldsOfOtherTypes(t *testing.T) {
	for payload, foreign := range map[string]bool{
		`{"source":"my.app","detail-type":"order","detail":"text"}`:                        true,
		`{"source":"aws.kms","detail-type":"KMS CMK Rotations","detail":"text"}`:           true,
		`{"source":"aws.kms","detail-type":"KMS CMK Rotation","detail":"text"}`:            false,
		`{"source":"aws.iam","detail-type":"AWS API Call via CloudTrail","detail":"text"}`: false,
		`{"source":"my.app","detail":"text"}`:                                              false,
		`{"detail-type":"order","detail":"text"}`:                                          false,
		`{"source":"my.app","detail-type":7,"detail":"text"}`:                              false,
		`{"source":"my.app","detail-type":"order","detail":"text"`:                         false,
	} {
		if decoded, err := Decode([]byte(payload)); (err == nil) != foreign || decoded != nil {
			t.Errorf("%s: got %v and error %v, want it passed over: %t", payload, decoded, err, foreign)
		}
	}
}
