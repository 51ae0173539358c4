package amazon_test

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/cmek"
)

// counted counts the operations of KMS, and refuses those that are named with the code.
type counted struct {
	next    http.RoundTripper
	refused map[string]string
	calls   []string
}

func (c *counted) RoundTrip(r *http.Request) (*http.Response, error) {
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	c.calls = append(c.calls, operation)
	if code := c.refused[operation]; code != "" {
		return &http.Response{
			StatusCode: http.StatusBadRequest, Header: http.Header{"Content-Type": {"application/x-amz-json-1.1"}},
			Body: io.NopCloser(strings.NewReader(`{"__type":"` + code + `","message":"no"}`)), Request: r,
		}, nil
	}
	return c.next.RoundTrip(r)
}

// refusing is a reader of the simulated keys to which KMS refuses operations, "Operation=Code".
func (s simulatedKMS) refusing(refusals ...string) (*amazon.KMS, *counted) {
	c := &counted{next: s.config.HTTPClient.(*http.Client).Transport, refused: map[string]string{}}
	for _, r := range refusals {
		operation, code, _ := strings.Cut(r, "=")
		c.refused[operation] = code
	}
	return amazon.NewKMS(configAt(s.t, "http://kms.test", c), nil), c
}

func TestDetails_show_all_of_a_key_with_the_calls_of_Key(t *testing.T) {
	s := newSimulatedKMS(t)
	_, err := s.client().EnableKeyRotation(t.Context(), &kms.EnableKeyRotationInput{KeyId: aws.String(string(ownKey)), RotationPeriodInDays: aws.Int32(180)})
	s.must(err)
	keys, c := s.refusing()
	d := keys.Details(t.Context(), ownKey)
	if d.DescriptionErr != nil || d.RotationErr != nil {
		t.Fatal(d.DescriptionErr, d.RotationErr)
	}
	if k := d.Description; k.State != cmek.KeyEnabled || k.Version != cmek.MaterialVersion(first) || !k.NeverRotated || !k.CreatedAt.Equal(s.created()) ||
		k.Purpose != "ENCRYPT_DECRYPT" || k.Spec != "SYMMETRIC_DEFAULT" || k.Manager != "CUSTOMER" || k.Origin != "AWS_KMS" || k.Primary != "" {
		t.Errorf("%+v", k)
	}
	if r := d.Rotation; !r.Enabled || r.Unsupported || r.Period != 180*24*time.Hour || r.Next.IsZero() {
		t.Errorf("%+v", r)
	}
	details := slices.Clone(c.calls)
	c.calls = nil
	if _, err := keys.Key(t.Context(), ownKey); err != nil || !slices.Equal(c.calls, details) || len(details) != 3 {
		t.Errorf("Details called %v, Key %v (%v)", details, c.calls, err)
	}
}

func TestDetails_of_a_replica_name_all_related_keys(t *testing.T) {
	keys, _ := newSimulatedKMS(t).refusing()
	k := keys.Details(t.Context(), replicaKey).Description
	if k.Primary != relatedKey || !slices.Equal(k.Replicas, []cmek.KeyURI{replicaKey}) {
		t.Errorf("%+v", k)
	}
}

// What is refused is an error with the missing action, and never "there is none". The other part is read all the same.
func TestDetails_keep_every_refusal(t *testing.T) {
	for _, tt := range []struct {
		refusal             string
		description, status string // the permission that is missing, "other" for another error, "" if the part is read
	}{
		{"DescribeKey=AccessDeniedException", "kms:DescribeKey", "kms:DescribeKey"},
		{"DescribeKey=KMSInternalException", "other", "other"},
		{"ListKeyRotations=AccessDeniedException", "kms:ListKeyRotations", ""},
		{"ListKeyRotations=InvalidArnException", "other", ""},
		{"ListKeyRotations=UnsupportedOperationException", "", ""},
		{"GetKeyRotationStatus=AccessDeniedException", "", "kms:GetKeyRotationStatus"},
		{"GetKeyRotationStatus=KMSInvalidStateException", "", "other"},
		{"GetKeyRotationStatus=UnsupportedOperationException", "", ""},
	} {
		t.Run(tt.refusal, func(t *testing.T) {
			keys, _ := newSimulatedKMS(t).refusing(tt.refusal)
			d := keys.Details(t.Context(), ownKey)
			for part, got := range map[string]struct {
				err  error
				want string
			}{"description": {d.DescriptionErr, tt.description}, "rotation": {d.RotationErr, tt.status}} {
				checkRefusal(t, part, got.err, got.want)
			}
			if strings.HasPrefix(tt.refusal, "GetKeyRotationStatus=Unsupported") && d.Rotation.Enabled {
				t.Error("a key that cannot rotate is said to")
			}
		})
	}
}

func checkRefusal(t *testing.T, part string, err error, want string) {
	t.Helper()
	var missing *cmek.PermissionError
	named := errors.As(err, &missing)
	switch want {
	case "":
		if err != nil {
			t.Errorf("%s: %v", part, err)
		}
	case "other":
		if err == nil || named {
			t.Errorf("%s: %v", part, err)
		}
	default:
		if !named || missing.Permission != want+" in the key policy of "+string(ownKey) || !errors.Is(err, cmek.ErrDenied) {
			t.Errorf("%s: %v, %+v", part, err, missing)
		}
	}
}

func TestDetails_of_a_key_that_does_not_exist(t *testing.T) {
	keys, _ := newSimulatedKMS(t).refusing()
	if d := keys.Details(t.Context(), absentKey); d.DescriptionErr != nil || d.Description.State != cmek.KeyNotFound || d.RotationErr == nil {
		t.Errorf("%+v", d)
	}
}

func TestGrants_are_all_read(t *testing.T) {
	s := newSimulatedKMS(t)
	keys, _ := s.refusing()
	if grants, err := keys.Grants(t.Context(), ownKey); err != nil || len(grants) != 0 {
		t.Fatalf("%v, %v", grants, err)
	}
	const most = 101 // a page has 100
	for range most {
		_, err := s.client().CreateGrant(t.Context(), &kms.CreateGrantInput{
			KeyId: aws.String(string(ownKey)), GranteePrincipal: aws.String("arn:aws:iam::111122223333:role/app"), Operations: []types.GrantOperation{types.GrantOperationDecrypt},
		})
		s.must(err)
	}
	grants, err := keys.Grants(t.Context(), ownKey)
	if err != nil || len(grants) != most {
		t.Fatalf("%d grants, %v", len(grants), err)
	}
	if g := grants[0]; g.ID == "" || g.Grantee != "arn:aws:iam::111122223333:role/app" || !slices.Equal(g.Operations, []string{"Decrypt"}) || g.CreatedAt.IsZero() {
		t.Errorf("%+v", g)
	}
	keys, _ = s.refusing("ListGrants=AccessDeniedException", "GetKeyLastUsage=AccessDeniedException")
	_, err = keys.Grants(t.Context(), ownKey)
	checkRefusal(t, "grants", err, "kms:ListGrants")
	_, err = keys.LastUse(t.Context(), ownKey)
	checkRefusal(t, "last use", err, "kms:GetKeyLastUsage")
}

func TestLastUse_says_since_when_uses_are_recorded(t *testing.T) {
	s := newSimulatedKMS(t)
	keys, _ := s.refusing()
	before, err := keys.LastUse(t.Context(), ownKey)
	if err != nil || !before.At.IsZero() || before.Tracked.IsZero() {
		t.Fatalf("%+v, %v", before, err)
	}
	_, err = s.client().Encrypt(t.Context(), &kms.EncryptInput{KeyId: aws.String(string(ownKey)), Plaintext: []byte("x")})
	s.must(err)
	if after, err := keys.LastUse(t.Context(), ownKey); err != nil || after.At.IsZero() || after.Operation != "Encrypt" {
		t.Errorf("%+v, %v", after, err)
	}
}
