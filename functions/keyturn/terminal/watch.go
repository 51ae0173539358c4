package terminal

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"
)

// shortestWatch is the shortest time between two reads of --watch: each may read the whole ledger.
const shortestWatch = time.Second

// WatchFlag adds --watch to a command that shows what is.
func (t *Terminal) WatchFlag(c *cobra.Command) {
	c.Flags().Func("watch", "show it again and again, with this `pause` between (5s)", func(value string) error {
		pause, err := time.ParseDuration(value)
		if err != nil || pause < shortestWatch {
			return errors.New("want a time of at least 1s, like 5s")
		}
		t.watch = pause
		return nil
	})
	c.Flags().Lookup("watch").NoOptDefVal = "5s"
}

// Watched runs show once, or again and again until Ctrl-C if --watch asks for that; then the error is that of the last time. A read
// that fails does not end it.
func (t *Terminal) Watched(ctx context.Context, look func(context.Context) error) error {
	if t.watch == 0 {
		return look(ctx)
	}
	for {
		switch {
		case t.JSON:
		case t.Live:
			Tell(t.Out, "\x1b[H\x1b[2J") // ECMA-48: home, and erase the screen
		default:
			Tell(t.Out, "\n")
		}
		if !t.JSON {
			Tell(t.Out, "%s, every %s; Ctrl-C ends\n\n", time.Now().Format(time.DateTime), t.watch)
		}
		err := look(ctx)
		if err != nil && !errors.Is(err, ErrNeedsPerson) && ctx.Err() == nil {
			Tell(t.Err, "keyturn: %s\n", Printable(OneLine(err)))
		}
		select {
		case <-time.After(t.watch):
		case <-ctx.Done():
			return err
		}
	}
}
