package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"
)

// shortestWatch is the shortest time between two reads of --watch: each may read the whole ledger.
const shortestWatch = time.Second

// watchFlag adds --watch to a command that shows what is.
func (p *program) watchFlag(c *cobra.Command) {
	c.Flags().Func("watch", "show it again and again, with this `pause` between (5s)", func(value string) error {
		pause, err := time.ParseDuration(value)
		if err != nil || pause < shortestWatch {
			return errors.New("want a time of at least 1s, like 5s")
		}
		p.watch = pause
		return nil
	})
	c.Flags().Lookup("watch").NoOptDefVal = "5s"
}

// watched runs show once, or again and again until Ctrl-C if --watch asks for that; then the error is that of the last time. A read
// that fails does not end it.
func (p *program) watched(ctx context.Context, look func(context.Context) error) error {
	if p.watch == 0 {
		return look(ctx)
	}
	for {
		switch {
		case p.json:
		case p.live:
			tell(p.out, "\x1b[H\x1b[2J") // ECMA-48: home, and erase the screen
		default:
			tell(p.out, "\n")
		}
		if !p.json {
			tell(p.out, "%s, every %s; Ctrl-C ends\n\n", time.Now().Format(time.DateTime), p.watch)
		}
		err := look(ctx)
		if err != nil && !errors.Is(err, errNeedsPerson) && ctx.Err() == nil {
			tell(p.err, "keyturn: %s\n", printable(oneLine(err)))
		}
		select {
		case <-time.After(p.watch):
		case <-ctx.Done():
			return err
		}
	}
}
