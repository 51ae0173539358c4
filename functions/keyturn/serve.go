package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/keyturn/keyturn/internal/simulator"
)

// listenOnLoopback listens at the address that a flag names; because is why no other machine may call.
func listenOnLoopback(listen, because string) (*net.TCPListener, error) {
	address, err := net.ResolveTCPAddr("tcp", listen)
	if err != nil {
		return nil, &configurationError{fmt.Errorf("--listen is %q; want a loopback address such as 127.0.0.1:8080", listen)}
	}
	if !address.IP.IsLoopback() {
		return nil, &configurationError{fmt.Errorf("--listen is %q; %s and serves loopback addresses only, such as 127.0.0.1:8080", listen, because)}
	}
	listener, err := net.ListenTCP("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return listener, nil
}

// serve serves until ctx ends, then lets running requests finish. Meanwhile and at the end it calls each from time to time.
func serve(ctx context.Context, listener net.Listener, handler http.Handler, each func() error) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	for {
		select {
		case err := <-ended:
			return fmt.Errorf("serve: %w", err)
		case <-time.After(200 * time.Millisecond):
			if err := each(); err != nil {
				return errors.Join(err, server.Close())
			}
		case <-ctx.Done():
			within, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			if server.Shutdown(within) != nil {
				_ = server.Close() // clients that do not let go are cut off
			}
			return each()
		}
	}
}

// journal writes down what happens in a world, each thing once.
type journal struct {
	world            *simulator.World
	requests, events io.Writer
	// request and event are the sequence numbers of the newest that were written.
	request, event int
}

func (j *journal) write() error {
	for _, e := range j.world.EventsAfter(j.event) {
		j.event = e.Seq
		if _, err := fmt.Fprintf(j.events, "%s\n", e.Payload); err != nil {
			return fmt.Errorf("write event: %w", err)
		}
	}
	if j.requests == io.Discard {
		return nil
	}
	for _, r := range j.world.Requests() {
		if r.Seq <= j.request {
			continue
		}
		j.request = r.Seq
		if err := json.NewEncoder(j.requests).Encode(r); err != nil {
			return fmt.Errorf("write request log: %w", err)
		}
	}
	return nil
}
