package cmektest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"

	"github.com/keyturn/keyturn/internal/ledger"
)

// ErrLost is what a caller sees when its request or the answer to it was lost on the way.
var ErrLost = errors.New("connection lost")

// Fault is what happens to a call on its way.
type Fault int32

// The faults. The caller cannot tell the last two apart.
const (
	// NoFault: the call goes through.
	NoFault Fault = iota
	// RequestLost: nothing happens at the other end.
	RequestLost
	// AnswerLost: the call is carried out, and the caller does not learn of it.
	AnswerLost
)

// Faults loses calls on demand. Its zero value lets everything through. It is safe for concurrent use.
type Faults struct{ every, next atomic.Int32 }

// Every applies the fault to all calls from now on; Every(NoFault) ends it.
func (f *Faults) Every(fault Fault) { f.every.Store(int32(fault)) }

// Next applies the fault to the next call only.
func (f *Faults) Next(fault Fault) { f.next.Store(int32(fault)) }

func (f *Faults) take() Fault {
	if next := Fault(f.next.Swap(int32(NoFault))); next != NoFault {
		return next
	}
	return Fault(f.every.Load())
}

// Store puts the faults between the store's Put and its callers; reads go through.
func (f *Faults) Store(store ledger.Store) ledger.Store { return faultyStore{store, f} }

type faultyStore struct {
	ledger.Store
	faults *Faults
}

func (s faultyStore) Put(ctx context.Context, r ledger.Record) error {
	fault := s.faults.take()
	if fault == RequestLost {
		return ErrLost
	}
	err := s.Store.Put(ctx, r)
	if fault == AnswerLost {
		return ErrLost
	}
	return err
}

// Transport puts the faults between an HTTP server and its clients.
func (f *Faults) Transport(next http.RoundTripper) http.RoundTripper { return faultyTransport{next, f} }

type faultyTransport struct {
	next   http.RoundTripper
	faults *Faults
}

func (t faultyTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	fault := t.faults.take()
	if fault == RequestLost {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, ErrLost
	}
	resp, err := t.next.RoundTrip(req)
	if fault == NoFault || err != nil {
		return resp, err
	}
	// A server may still be at work while it sends its answer.
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return nil, ErrLost
}
