package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/keyturn/keyturn/internal/cmek"
)

// everyone notifies all, even if some cannot be reached.
type everyone []cmek.Notifier

// Notify joins the errors; a repetition tells those again who were reached.
func (all everyone) Notify(ctx context.Context, alert cmek.Alert) error {
	var problems []error
	for _, n := range all {
		problems = append(problems, n.Notify(ctx, alert))
	}
	return errors.Join(problems...)
}

// briefly tells news that ask for nothing in one line, and hands everything else on.
type briefly struct {
	full cmek.Notifier
	out  io.Writer
}

// Notify implements cmek.Notifier.
func (b briefly) Notify(ctx context.Context, alert cmek.Alert) error {
	if alert.Severity != cmek.Info {
		return b.full.Notify(ctx, alert)
	}
	if _, err := fmt.Fprintln(b.out, alert.Headline()); err != nil {
		return fmt.Errorf("show alert %s: %w", alert.ID, err)
	}
	return nil
}
