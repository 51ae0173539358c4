package compliance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/keyturn/keyturn/functions/compliance/checks"
)

// DeclaredIn reads declarations, as JSON, with a function that returns the file's bytes, and gives them with the hash of these bytes.
// Declarations that make no sense are an error: with others than the owner's, a check would pass or fail for no reason of theirs.
func DeclaredIn(read func(context.Context) ([]byte, error)) func(context.Context) (checks.Declarations, string, error) {
	return func(ctx context.Context) (d checks.Declarations, hash string, err error) {
		data, err := read(ctx)
		if err != nil {
			return d, "", fmt.Errorf("read declarations: %w", err)
		}
		decoder := json.NewDecoder(bytes.NewReader(data))
		decoder.DisallowUnknownFields() // a misspelled exception would not be missed
		if err := decoder.Decode(&d); err != nil {
			return d, "", fmt.Errorf("read declarations: %w", err)
		}
		if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
			return d, "", errors.New("read declarations: there is more than one JSON value")
		}
		if err := d.Validate(time.Now()); err != nil {
			return d, "", fmt.Errorf("declarations: %w", err)
		}
		return d, digest(data), nil
	}
}
