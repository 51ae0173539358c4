package channel

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
)

// Headers of a signed webhook. The timestamp is the time of sending in Unix seconds. The signature is "v1=" and the
// lower-case hexadecimal HMAC-SHA256, under the shared key, of the timestamp, a full stop and the body.
const (
	TimestampHeader = "Keyturn-Timestamp"
	SignatureHeader = "Keyturn-Signature"
)

// ReplayWindow is how far the timestamp of a request may be from the receiver's clock.
const ReplayWindow = 5 * time.Minute

// shortestKey is the least length of a signing key in bytes.
const shortestKey = 16

// Webhook posts the JSON of alerts, signed; their runbooks are addresses there. A repeat of an alert has the same body under a new timestamp.
type Webhook struct {
	Client *http.Client
	URL    string
	// Key reads the key shared with the receiver: 16 bytes or more, used as they are.
	Key Secret
	// Runbooks is the URL below which runbooks are; "" for those of the program's version.
	Runbooks string
}

// Send posts the alert. The receiver has it when Send returns nil; with an error it may have it too.
func (w Webhook) Send(ctx context.Context, a alert.Alert) error {
	key, err := w.Key(ctx)
	if err != nil {
		return err
	}
	if len(key) < shortestKey {
		return fmt.Errorf("sign webhook: the key is shorter than %d bytes", shortestKey)
	}
	a.Runbook = runbookURL(w.Runbooks, a.Runbook)
	body, err := a.JSON()
	if err != nil {
		return fmt.Errorf("encode alert: %w", err)
	}
	r := request{url: w.URL, body: body, header: http.Header{}, secret: key}
	now := strconv.FormatInt(time.Now().Unix(), 10)
	r.header.Set(TimestampHeader, now)
	r.header.Set(SignatureHeader, sign(key, now, body))
	if err := r.send(ctx, w.Client); err != nil {
		return fmt.Errorf("post webhook: %w", err)
	}
	return nil
}

func sign(key, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(timestamp + "."))
	mac.Write(body)
	return "v1=" + hex.EncodeToString(mac.Sum(nil))
}

// Errors of [Verify].
var (
	// ErrSignature: the request was not signed with the key, or its body or timestamp was changed.
	ErrSignature = errors.New("the webhook's signature is wrong or missing")
	// ErrReplay: the signature is right, but older or newer than the replay window.
	ErrReplay = errors.New("the webhook's timestamp is outside the replay window")
)

// Verify is what a receiver does with a request before it reads the body: it returns nil if the body was signed with the
// key within [ReplayWindow] of now. Within that window a request can be replayed, so a receiver that must act once keeps
// the IDs of the alerts it has seen. While keys are being changed, a request is good if either key verifies it.
func Verify(key string, header http.Header, body []byte, now time.Time) error {
	timestamp := header.Get(TimestampHeader)
	want := sign(key, timestamp, body)
	if len(key) < shortestKey || !hmac.Equal([]byte(want), []byte(strings.TrimSpace(header.Get(SignatureHeader)))) {
		return ErrSignature
	}
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || now.Sub(time.Unix(seconds, 0)).Abs() > ReplayWindow {
		return ErrReplay
	}
	return nil
}
