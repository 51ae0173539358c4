package amazon

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// S3's answers to a conditional write (docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html).
const (
	preconditionFailed         = "PreconditionFailed"         // 412: the object exists
	conditionalRequestConflict = "ConditionalRequestConflict" // 409: another write to the name is under way
)

// How often a write is tried while others write to the same name, and the pause after the first try; it doubles.
const (
	conflictTries = 5
	conflictPause = 100 * time.Millisecond
)

// Archive keeps evidence as objects in an S3 bucket.
type Archive struct {
	client *s3.Client
	bucket string
	prefix string
}

// NewArchive returns the archive in the bucket. Each name is put behind the prefix as it is; "" means none.
func NewArchive(config Config, bucket, prefix string) *Archive {
	client := s3.NewFromConfig(config, func(o *s3.Options) {
		// Emulators and private endpoints have no DNS name for each bucket.
		o.UsePathStyle = o.BaseEndpoint != nil
	})
	return &Archive{client, bucket, prefix}
}

// PutIfAbsent stores data as application/json under the name. If the name is taken it changes nothing and returns nil
// when the stored bytes are the same, so a repeat of a write whose answer was lost succeeds; an error when they differ.
func (a *Archive) PutIfAbsent(ctx context.Context, name string, data []byte) error {
	doing := fmt.Sprintf("archive %q", name)
	sum := sha256.Sum256(data)
	for try := range conflictTries {
		_, err := a.client.PutObject(ctx, &s3.PutObjectInput{
			Bucket:      &a.bucket,
			Key:         aws.String(a.prefix + name),
			Body:        bytes.NewReader(data),
			ContentType: aws.String("application/json"),
			IfNoneMatch: aws.String("*"),
			// A bucket with a default retention takes no object without one
			// (docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock.html).
			ChecksumAlgorithm: types.ChecksumAlgorithmSha256, // the header that a bucket with default retention asks for
			ChecksumSHA256:    aws.String(base64.StdEncoding.EncodeToString(sum[:])),
		})
		switch {
		case err == nil:
			return nil
		case errorCode(err) == preconditionFailed:
			if err := a.compare(ctx, name, data); err != nil {
				return explain(err, doing)
			}
			return nil
		case errorCode(err) != conditionalRequestConflict:
			return explain(err, doing)
		}
		if err := sleep(ctx, conflictPause<<try); err != nil {
			return fmt.Errorf("%s: %w", doing, err)
		}
	}
	return fmt.Errorf("%s: other writes to the name were under way in %d tries", doing, conflictTries)
}

// compare returns nil if the object holds exactly data.
func (a *Archive) compare(ctx context.Context, name string, data []byte) error {
	out, err := a.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &a.bucket, Key: aws.String(a.prefix + name)})
	if err != nil {
		return fmt.Errorf("the name is taken; read what is there: %w", err)
	}
	defer func() { _ = out.Body.Close() }()
	// One byte more than expected is enough to know.
	stored, err := io.ReadAll(io.LimitReader(out.Body, int64(len(data))+1))
	if err != nil {
		return fmt.Errorf("the name is taken; read what is there: %w", err)
	}
	if !bytes.Equal(stored, data) {
		return errors.New("the name is taken by other content")
	}
	return nil
}
