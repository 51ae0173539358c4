package google

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/config"
)

// Secret is an API key in Secret Manager. It is safe for concurrent use.
type Secret struct {
	rest rest
	name string
}

// secretName is projects/PROJECT/secrets/SECRET, optionally with /versions/VERSION (Secret Manager API,
// projects.secrets.versions.access).
var secretName = regexp.MustCompile(`^projects/([^/]+)/secrets/([a-zA-Z0-9_-]+)(/versions/(latest|[0-9]+))?$`)

// CheckSecret reports whether the text is the name of a secret in Secret Manager.
func CheckSecret(name string) error {
	parts := secretName.FindStringSubmatch(name)
	if parts == nil || !cmek.IsProject(parts[1]) || len(parts[2]) > 255 || len(parts[4]) > 19 {
		return fmt.Errorf("%q is not the name of a secret; want projects/PROJECT/secrets/SECRET", clip(name))
	}
	return nil
}

// NewSecret returns the secret with that name: its latest version, unless the name has one.
func NewSecret(config Config, name string) (*Secret, error) {
	if err := CheckSecret(name); err != nil {
		return nil, err
	}
	if !strings.Contains(name, "/versions/") {
		name += "/versions/latest"
	}
	return &Secret{config.rest(), name}, nil
}

// Name is the secret's name, without a version unless it was given with one.
func (s *Secret) Name() string { return strings.TrimSuffix(s.name, "/versions/latest") }

// Created reads when the version in use was made, and not what it holds. The latest version is the newest one whatever its state, and one
// that is not enabled can be read by nobody (cloud.google.com/secret-manager/docs/access-secret-version).
func (s *Secret) Created(ctx context.Context) (time.Time, error) {
	const permission = "secretmanager.versions.get"
	doing := "read version of secret " + s.name
	text, err := s.rest.call(ctx, request{host: "secretmanager.googleapis.com", path: "/v1/" + s.name})
	if err != nil {
		if err = explain(err, doing); errors.Is(err, cmek.ErrDenied) && !errors.Is(err, cmek.ErrNoCredentials) {
			return time.Time{}, &cmek.PermissionError{Permission: permission + " on " + s.Name(), Err: err}
		}
		return time.Time{}, err
	}
	var version struct {
		State      string    `json:"state"`
		CreateTime time.Time `json:"createTime"`
	}
	switch err := json.Unmarshal(text, &version); {
	case err != nil || version.CreateTime.IsZero():
		return time.Time{}, fmt.Errorf("%s: %w: it does not say when it was made", doing, cmek.ErrIncomplete)
	case version.State != "ENABLED":
		return time.Time{}, fmt.Errorf("%s: its state is %q, and so nobody can use it", doing, clip(version.State))
	}
	return version.CreateTime.UTC(), nil
}

// castagnoli is the CRC-32 of Google's APIs.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Value reads the API key. The secret is either the key itself, or a JSON object with the key as "api_key". Its content is
// in no error. Nothing is kept: the Cloud API's client keeps the key, and asks again when it was refused.
func (s *Secret) Value(ctx context.Context) (string, error) {
	doing := "read secret " + s.name
	text, err := s.rest.call(ctx, request{host: "secretmanager.googleapis.com", path: "/v1/" + s.name + ":access"})
	if err != nil {
		return "", explain(err, doing)
	}
	content, err := secretContent(text)
	if err != nil {
		return "", fmt.Errorf("%s: %w", doing, err)
	}
	value, err := config.APIKey(string(content))
	if err != nil {
		return "", fmt.Errorf("%s: %w", doing, err)
	}
	return value, nil
}

// secretContent takes the content out of the answer. Errors of the JSON decoder quote their input, so they are not passed on.
func secretContent(text []byte) ([]byte, error) {
	var answer struct {
		Payload *struct {
			Data []byte `json:"data"`
			// CRC32C is there in every answer (Secret Manager documentation, "Data integrity").
			CRC32C string `json:"dataCrc32c"`
		} `json:"payload"`
	}
	switch err := json.Unmarshal(text, &answer); {
	case err != nil:
		return nil, errors.New("the answer holds no secret")
	case answer.Payload == nil || len(answer.Payload.Data) == 0:
		return nil, fmt.Errorf("%w: no content", cmek.ErrIncomplete)
	case answer.Payload.CRC32C != "" && answer.Payload.CRC32C != strconv.FormatUint(uint64(crc32.Checksum(answer.Payload.Data, castagnoli)), 10):
		return nil, errors.New("the content does not have the checksum that the answer says")
	}
	return answer.Payload.Data, nil
}
