// Command keyturn is the operator's command line: it shows what keyturn knows and would do, follows rotations through from
// a terminal, and demonstrates all of it on one machine with no cloud account.
package main

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/term"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	p := &program{name: calledAs(os.Args[0]), in: os.Stdin, out: os.Stdout, err: os.Stderr, environ: os.Environ()}
	p.interactive = term.IsTerminal(int(os.Stdin.Fd()))
	if term.IsTerminal(int(os.Stdout.Fd())) {
		p.live = os.Getenv("TERM") != "dumb"
		if p.width, _, _ = term.GetSize(int(os.Stdout.Fd())); p.width <= 0 {
			p.width = 80
		}
	}
	p.dir, _ = os.Getwd() // without one there is no file in reach
	os.Exit(p.run(ctx, os.Args[1:]))
}

// calledAs is what a person types to call the program again.
func calledAs(arg0 string) string {
	if strings.ContainsRune(arg0, filepath.Separator) {
		return arg0
	}
	return "keyturn"
}
