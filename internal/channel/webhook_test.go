package channel

import (
	"errors"
	"net/http"
	"strconv"
	"testing"
	"time"
)

func TestASignatureIsTheHMACOfTimestampAndBody(t *testing.T) {
	// printf '1772362800.{"id":"a"}' | openssl dgst -sha256 -hmac 3f9d7c0a5b1e4c8d9a6f2b7e0c4d8a1f
	const want = "v1=bef051f0638217ff4c59f87e8c0818cc0e1f39f9387a99c2bd1ca126c36feefb"
	if got := sign(signingKey, "1772362800", []byte(`{"id":"a"}`)); got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
}

func TestAReceiverVerifiesWhatTheWebhookSends(t *testing.T) {
	r := newReceiver(t)
	if err := r.channels()["webhook"].Send(t.Context(), firing()); err != nil {
		t.Fatal(err)
	}
	if err := Verify(signingKey, r.got[0].Header, r.bodies[0], time.Now()); err != nil {
		t.Errorf("verify: %v", err)
	}
}

func TestVerifyAcceptsNothingThatWasChangedForgedOrKept(t *testing.T) {
	now := time.Unix(1772362800, 0)
	body := []byte(`{"id":"a"}`)
	signedAt := func(at time.Time) http.Header {
		timestamp := strconv.FormatInt(at.Unix(), 10)
		h := http.Header{}
		h.Set(TimestampHeader, timestamp)
		h.Set(SignatureHeader, sign(signingKey, timestamp, body))
		return h
	}
	with := func(name, value string) http.Header {
		h := signedAt(now)
		h.Set(name, value)
		return h
	}
	signed := func(timestamp string) http.Header {
		h := with(TimestampHeader, timestamp)
		h.Set(SignatureHeader, sign(signingKey, timestamp, body))
		return h
	}
	short := http.Header{}
	short.Set(TimestampHeader, "1772362800")
	short.Set(SignatureHeader, sign("", "1772362800", body))
	good := signedAt(now).Get(SignatureHeader)

	for _, tc := range []struct {
		name   string
		key    string
		header http.Header
		body   string
		want   error
	}{
		{"as sent", signingKey, signedAt(now), string(body), nil},
		{"just within the window", signingKey, signedAt(now.Add(-ReplayWindow)), string(body), nil},
		{"a receiver's clock that is late", signingKey, signedAt(now.Add(ReplayWindow)), string(body), nil},
		{"too old", signingKey, signedAt(now.Add(-ReplayWindow - time.Second)), string(body), ErrReplay},
		{"from the future", signingKey, signedAt(now.Add(ReplayWindow + time.Second)), string(body), ErrReplay},
		{"a signed timestamp that is none", signingKey, signed("noon"), string(body), ErrReplay},
		{"a signed timestamp far away", signingKey, signed("-9223372036854775808"), string(body), ErrReplay},
		{"another body", signingKey, signedAt(now), `{"id":"b"}`, ErrSignature},
		{"a body made longer", signingKey, signedAt(now), string(body) + " ", ErrSignature},
		{"no body", signingKey, signedAt(now), "", ErrSignature},
		{"an old request with a new timestamp", signingKey, with(TimestampHeader, "1772362801"), string(body), ErrSignature},
		{"no timestamp", signingKey, with(TimestampHeader, ""), string(body), ErrSignature},
		{"no signature", signingKey, with(SignatureHeader, ""), string(body), ErrSignature},
		{"half a signature", signingKey, with(SignatureHeader, good[:30]), string(body), ErrSignature},
		{"another version", signingKey, with(SignatureHeader, "v2"+good[2:]), string(body), ErrSignature},
		{"no headers", signingKey, nil, string(body), ErrSignature},
		{"another key", routingKey, signedAt(now), string(body), ErrSignature},
		{"a receiver without a key", "", short, string(body), ErrSignature},
	} {
		if err := Verify(tc.key, tc.header, []byte(tc.body), now); !errors.Is(err, tc.want) || (tc.want == nil) != (err == nil) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
	}
}
