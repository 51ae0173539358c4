package amazon_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
)

var buckets atomic.Int32

func createBucket(t *testing.T, config amazon.Config) (client *s3.Client, name string) {
	t.Helper()
	client = s3.NewFromConfig(config, func(o *s3.Options) { o.UsePathStyle = true })
	name = fmt.Sprintf("evidence-%d", buckets.Add(1))
	if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name}); err != nil {
		t.Fatalf("create bucket: %v", err)
	}
	return client, name
}

func TestArchiveConforms(t *testing.T) {
	cmektest.ArchiveConforms(t, func(t *testing.T) (cmek.Archive, func(string) ([]byte, error)) {
		config := motoConfig(t, nil)
		client, bucket := createBucket(t, config)
		return amazon.NewArchive(config, bucket, "keyturn/"), func(name string) ([]byte, error) {
			out, err := client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: aws.String("keyturn/" + name)})
			if err != nil {
				return nil, err
			}
			defer out.Body.Close()
			if got := aws.ToString(out.ContentType); got != "application/json" {
				t.Errorf("%s has content type %q, want application/json", name, got)
			}
			return io.ReadAll(out.Body)
		}
	})
}

func TestArchiveReaderConforms(t *testing.T) {
	cmektest.ArchiveReaderConforms(t, func(t *testing.T) (cmektest.ReadableArchive, cmektest.Intruder) {
		config := motoConfig(t, nil)
		client, bucket := createBucket(t, config)
		_, err := client.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
			Bucket: &bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}})
		if err != nil {
			t.Fatal(err)
		}
		return amazon.NewArchive(config, bucket, "keyturn/"), cmektest.Intruder{
			Overwrite: func(t *testing.T, name string, data []byte) {
				if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: aws.String("keyturn/" + name), Body: bytes.NewReader(data)}); err != nil {
					t.Fatal(err)
				}
			},
			Delete: func(t *testing.T, name string) {
				if _, err := client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &bucket, Key: aws.String("keyturn/" + name)}); err != nil {
					t.Fatal(err)
				}
			},
		}
	})
}

func TestArchiveTakesItsOwnWriteWithALostAnswerForDone(t *testing.T) {
	var faults cmektest.Faults
	config := motoConfig(t, faults.Transport(http.DefaultTransport))
	_, bucket := createBucket(t, config)
	faults.Next(cmektest.AnswerLost)
	if err := amazon.NewArchive(config, bucket, "").PutIfAbsent(t.Context(), "a.json", []byte("{}")); err != nil {
		t.Errorf("the repeat of a write that had been done returned %v", err)
	}
}

// s3Answering answers every write with the next of the error codes, and with success after the last.
func s3Answering(t *testing.T, codes ...string) (archive *amazon.Archive, writes *int) {
	status := map[string]int{"ConditionalRequestConflict": http.StatusConflict, "AccessDenied": http.StatusForbidden}
	writes = new(int)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPut || r.URL.EscapedPath() != "/bucket/prefix/a/b%20c.json" || r.Header.Get("If-None-Match") != "*" {
			t.Errorf("request is %s %s with If-None-Match %q", r.Method, r.URL.EscapedPath(), r.Header.Get("If-None-Match"))
		}
		*writes++
		if *writes <= len(codes) {
			code := codes[*writes-1]
			w.WriteHeader(status[code])
			fmt.Fprintf(w, "<Error><Code>%s</Code><Message>m</Message></Error>", code)
		}
	}))
	t.Cleanup(server.Close)
	return amazon.NewArchive(configAt(t, server.URL, nil), "bucket", "prefix/"), writes
}

func TestArchiveSendsAChecksumWithoutWhichALockedBucketTakesNothing(t *testing.T) {
	var got string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got = r.Header.Get("x-amz-checksum-sha256")
		if body, err := io.ReadAll(r.Body); err != nil || string(body) != "{}" {
			t.Errorf("the body is %q (%v), want it as it is", body, err)
		}
	}))
	t.Cleanup(server.Close)
	if err := amazon.NewArchive(configAt(t, server.URL, nil), "bucket", "").PutIfAbsent(t.Context(), "a.json", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	const want = "RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o=" // printf '{}' | openssl dgst -sha256 -binary | base64
	if got != want {
		t.Errorf("x-amz-checksum-sha256 is %q, want %q", got, want)
	}
}

func TestArchiveTriesAgainWhileAnotherWriteIsUnderWay(t *testing.T) {
	archive, writes := s3Answering(t, "ConditionalRequestConflict")
	if err := archive.PutIfAbsent(t.Context(), "a/b c.json", []byte("{}")); err != nil || *writes != 2 {
		t.Errorf("after %d writes the error is %v, want none after 2", *writes, err)
	}
}

func TestArchiveGivesUpWhenOtherWritesNeverEnd(t *testing.T) {
	archive, writes := s3Answering(t, strings.Fields(strings.Repeat("ConditionalRequestConflict ", 9))...)
	if err := archive.PutIfAbsent(t.Context(), "a/b c.json", []byte("{}")); err == nil || *writes != 5 {
		t.Errorf("after %d writes the error is %v, want one after 5", *writes, err)
	}
}

func TestArchiveThatWeMayNotWriteIsDenied(t *testing.T) {
	archive, _ := s3Answering(t, "AccessDenied")
	if err := archive.PutIfAbsent(t.Context(), "a/b c.json", []byte("{}")); !errors.Is(err, cmek.ErrDenied) {
		t.Errorf("error is %v, want one that wraps ErrDenied", err)
	}
}
