package compliance

import (
	"context"
	"encoding/json"
	"fmt"
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
		if err := json.Unmarshal(data, &d); err != nil {
			return d, "", fmt.Errorf("read declarations: %w", err)
		}
		if err := d.Validate(time.Now()); err != nil {
			return d, "", fmt.Errorf("declarations: %w", err)
		}
		return d, digest(data), nil
	}
}
