package cmektest

import (
	"context"
	"errors"

	"github.com/keyturn/keyturn/events"
	"github.com/keyturn/keyturn/internal/cmek"
)

// Deliver hands every event of a payload to a function, as a runtime does. The error joins what the function returned.
func Deliver(ctx context.Context, payload []byte, event func(context.Context, cmek.Event) error) error {
	decoded, err := events.Decode(payload)
	if err != nil {
		return err
	}
	var problems []error
	for _, e := range decoded {
		problems = append(problems, event(ctx, e))
	}
	return errors.Join(problems...)
}
