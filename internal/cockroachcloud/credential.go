package cockroachcloud

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"
)

// renewalInterval is how often at most a refused key is read again, so that a service account that may not see some of the
// clusters does not turn every refusal into a read of the secret store.
const renewalInterval = time.Minute

// credential is the API key: read when first needed, kept until the server refuses it.
type credential struct {
	read func(context.Context) (string, error)

	mu          sync.Mutex
	key         string
	forgottenAt time.Time
}

// get returns the key, reading it if need be. Callers that come meanwhile wait for that one read.
func (c *credential) get(ctx context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.key != "" {
		return c.key, nil
	}
	key, err := c.read(ctx)
	if err != nil {
		return "", fmt.Errorf("read API key: %w", err)
	}
	key = strings.TrimSpace(key) // Secrets typed into a console often end in a newline.
	if err := checkAPIKey(key); err != nil {
		return "", fmt.Errorf("read API key: %w", err)
	}
	c.key = key
	return key, nil
}

// forget makes the next get read the key again, unless the refused one is no longer in use or another was forgotten a
// moment ago.
func (c *credential) forget(refused string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.key != refused || !c.forgottenAt.IsZero() && time.Since(c.forgottenAt) < renewalInterval {
		return
	}
	c.key, c.forgottenAt = "", time.Now()
}

// checkAPIKey accepts what can stand in an Authorization header. The error does not quote the key.
func checkAPIKey(key string) error {
	if key == "" {
		return errors.New("the API key is empty")
	}
	for _, b := range []byte(key) {
		if b <= ' ' || b > '~' {
			return errors.New("the API key holds a blank or a character that is not ASCII; is it the secret itself?")
		}
	}
	return nil
}

// apiKeyForm is what an API key's secret looks like: CCDB1_, its id, an underscore, the secret part.
var apiKeyForm = regexp.MustCompile(`CCDB1_[A-Za-z0-9]+_[A-Za-z0-9]+`)

// redact removes the key that was sent, and anything that looks like a key, from text that others wrote.
func redact(text, key string) string {
	const redacted = "[redacted]"
	if key != "" {
		text = strings.ReplaceAll(text, key, redacted)
	}
	return apiKeyForm.ReplaceAllString(text, redacted)
}

// redactError is err itself, or, if its text would show a key, an error with the redacted text only.
func redactError(err error, key string) error {
	if text := redact(err.Error(), key); text != err.Error() {
		return errors.New(text)
	}
	return err
}
