package amazon

import (
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/keyturn/keyturn/internal/cmek"
)

// List yields the objects with all their versions and delete markers. It needs s3:ListBucketVersions.
func (a *Archive) List(ctx context.Context, prefix string) iter.Seq2[cmek.Stored, error] {
	return func(yield func(cmek.Stored, error) bool) {
		// The versions of one object may be on two pages.
		open := map[string]*cmek.Stored{}
		flush := func(all bool, before string) bool {
			for _, key := range slices.Sorted(maps.Keys(open)) {
				if all || key < before {
					s := open[key]
					slices.SortStableFunc(s.Versions, func(a, b cmek.StoredVersion) int { return a.At.Compare(b.At) })
					delete(open, key)
					if !yield(*s, nil) {
						return false
					}
				}
			}
			return true
		}
		pages := s3.NewListObjectVersionsPaginator(a.client, &s3.ListObjectVersionsInput{Bucket: &a.bucket, Prefix: aws.String(a.prefix + prefix)})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(cmek.Stored{}, explain(err, fmt.Sprintf("list archive %q", prefix)))
				return
			}
			a.collect(open, page)
			if !flush(!pages.HasMorePages(), aws.ToString(page.NextKeyMarker)) {
				return
			}
		}
	}
}

// collect adds the versions of a page, which come with the newest first, to the objects that they are of.
func (a *Archive) collect(open map[string]*cmek.Stored, page *s3.ListObjectVersionsOutput) {
	at := func(key *string) *cmek.Stored {
		name := aws.ToString(key)
		if open[name] == nil {
			open[name] = &cmek.Stored{Name: strings.TrimPrefix(name, a.prefix)}
		}
		return open[name]
	}
	for _, v := range slices.Backward(page.Versions) {
		s := at(v.Key)
		s.Versions = append(s.Versions, cmek.StoredVersion{ID: aws.ToString(v.VersionId), At: aws.ToTime(v.LastModified), Size: aws.ToInt64(v.Size)})
	}
	// LastModified counts seconds: of what happened within one, the marker is the newer, since something was there to delete.
	for _, m := range slices.Backward(page.DeleteMarkers) {
		s := at(m.Key)
		s.Versions = append(s.Versions, cmek.StoredVersion{ID: aws.ToString(m.VersionId), At: aws.ToTime(m.LastModified), Deleted: true})
	}
}

// Read returns the bytes of an object. It needs s3:GetObject, for a version s3:GetObjectVersion, and s3:ListBucket to tell one that does
// not exist from one that may not be read (docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html).
func (a *Archive) Read(ctx context.Context, name, version string) ([]byte, error) {
	doing := fmt.Sprintf("read %q of the archive", name)
	in := &s3.GetObjectInput{Bucket: &a.bucket, Key: aws.String(a.prefix + name)}
	if version != "" {
		in.VersionId = &version
	}
	out, err := a.client.GetObject(ctx, in)
	if err != nil {
		if code := errorCode(err); code == (&types.NoSuchKey{}).ErrorCode() || code == noSuchVersion {
			return nil, fmt.Errorf("%s: %w", doing, cmek.ErrNotFound)
		}
		return nil, explain(err, doing)
	}
	defer func() { _ = out.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(out.Body, mostArchived+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", doing, err)
	case len(data) > mostArchived:
		return nil, fmt.Errorf("%s: it is larger than %d bytes", doing, mostArchived)
	}
	return data, nil
}

const (
	noSuchVersion = "NoSuchVersion"
	// mostArchived is more than keyturn ever stores under a name.
	mostArchived = 64 << 20
)
