package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/keyturn/keyturn/internal/alert"
)

// everyone notifies all, even if some cannot be reached.
type everyone []alert.Notifier

// Notify joins the errors; a repetition tells those again who were reached.
func (all everyone) Notify(ctx context.Context, a alert.Alert) error {
	var problems []error
	for _, n := range all {
		problems = append(problems, n.Notify(ctx, a))
	}
	return errors.Join(problems...)
}

// briefly tells news that ask for nothing in one line, and hands everything else on.
type briefly struct {
	full alert.Notifier
	out  io.Writer
}

// Notify implements alert.Notifier.
func (b briefly) Notify(ctx context.Context, a alert.Alert) error {
	if a.Severity != alert.Info {
		return b.full.Notify(ctx, a)
	}
	if _, err := fmt.Fprintln(b.out, a.Headline()); err != nil {
		return fmt.Errorf("show alert %s: %w", a.ID, err)
	}
	return nil
}
