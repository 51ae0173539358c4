package google

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"regexp"

	"google.golang.org/api/googleapi"

	"github.com/keyturn/keyturn/internal/cmek"
)

const storageHost = "storage.googleapis.com"

// Archive keeps evidence as objects in a bucket of Cloud Storage. It calls the JSON API: Google's client links xds and envoy.
type Archive struct {
	rest   rest
	bucket string
	prefix string
}

// bucketName is what a bucket may be called, in 3 to 222 bytes (cloud.google.com/storage/docs/buckets, "Bucket names"). Here and elsewhere
// lengths are not part of the expression: compiling such a one takes longer than all else at a start.
var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*[a-z0-9]$`)

// CheckBucket reports whether the text is the name of a bucket.
func CheckBucket(name string) error {
	if len(name) < 3 || len(name) > 222 || !bucketName.MatchString(name) {
		return fmt.Errorf("%q is not the name of a bucket", clip(name))
	}
	return nil
}

// NewArchive returns the archive in the bucket. Each name is put behind the prefix as it is; "" means none.
func NewArchive(config Config, bucket, prefix string) (*Archive, error) {
	if err := CheckBucket(bucket); err != nil {
		return nil, err
	}
	return &Archive{config.rest(), bucket, prefix}, nil
}

// PutIfAbsent stores data as application/json under the name. If the name is taken it changes nothing and returns nil
// when the stored bytes are the same, so a repeat of a write whose answer was lost succeeds; an error when they differ.
//
// It needs storage.objects.create, and to compare, storage.objects.get.
func (a *Archive) PutIfAbsent(ctx context.Context, name string, data []byte) error {
	doing := fmt.Sprintf("archive %q", name)
	err := a.create(ctx, name, data)
	var refusal *googleapi.Error
	taken := errors.As(err, &refusal) && refusal.Code == http.StatusPreconditionFailed
	// 412 says that the object exists (cloud.google.com/storage/docs/request-preconditions). For one that is locked, or that we may not
	// replace, it may be 403 instead: which of the two comes first is not documented.
	refused := errors.As(err, &refusal) && refusal.Code == http.StatusForbidden
	switch {
	case err == nil:
		return nil
	case !taken && !refused:
		return explain(err, doing)
	}
	switch stored, readErr := a.read(ctx, name); {
	case readErr != nil && refused:
		return explain(err, doing)
	case readErr != nil:
		return explain(readErr, doing+": the name is taken; read what is there")
	case !bytes.Equal(stored, data):
		return fmt.Errorf("%s: the name is taken by other content", doing)
	}
	return nil
}

// create writes an object where there is none. The checksum goes with it: the service stores nothing that has another one.
func (a *Archive) create(ctx context.Context, name string, data []byte) error {
	sum := checksum(data)
	about, err := json.Marshal(map[string]string{"name": a.prefix + name, "contentType": "application/json", "crc32c": sum})
	if err != nil {
		return err
	}
	var body bytes.Buffer
	parts := multipart.NewWriter(&body)
	for _, part := range []struct {
		kind    string
		content []byte
	}{{"application/json; charset=UTF-8", about}, {"application/json", data}} {
		w, err := parts.CreatePart(textproto.MIMEHeader{"Content-Type": {part.kind}})
		if err == nil {
			_, err = w.Write(part.content)
		}
		if err != nil {
			return err
		}
	}
	if err := parts.Close(); err != nil {
		return err
	}
	text, err := a.rest.call(ctx, request{
		method: http.MethodPost, host: storageHost, path: "/upload/storage/v1/b/" + a.bucket + "/o",
		// Generation 0 is an object that does not exist.
		query: url.Values{"uploadType": {"multipart"}, "ifGenerationMatch": {"0"}},
		body:  body.Bytes(), header: http.Header{"Content-Type": {"multipart/related; boundary=" + parts.Boundary()}},
	})
	if err != nil {
		return err
	}
	var answer struct {
		Name   string `json:"name"`
		CRC32C string `json:"crc32c"`
	}
	if json.Unmarshal(text, &answer) != nil || answer.Name != a.prefix+name || answer.CRC32C != sum {
		return fmt.Errorf("%w: it does not say that the object was stored", cmek.ErrIncomplete)
	}
	return nil
}

// read returns the object's content.
func (a *Archive) read(ctx context.Context, name string) ([]byte, error) {
	return a.rest.call(ctx, request{
		host: storageHost, path: "/storage/v1/b/" + a.bucket + "/o/" + url.PathEscape(a.prefix+name), query: url.Values{"alt": {"media"}},
	})
}

// checksum is the CRC-32C as the JSON API has it: big-endian, in base64 (Cloud Storage JSON API, "Objects").
func checksum(data []byte) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc32.Checksum(data, castagnoli)))
}
