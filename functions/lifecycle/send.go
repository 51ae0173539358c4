package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// errNotSent is why a request whose intent was to be noted stays; the facts must be read again.
var errNotSent = errors.New("not sent")

// send notes the intent, sends the request and notes the answer; then it watches what became of it. A request that was refused because
// policies may not have spread, or because the cluster was busy for a moment, is decided again and sent again for a while.
func (f *Function) send(ctx context.Context, r Request, facts Facts) (Result, error) {
	item, err := f.begin(ctx, r, facts)
	switch {
	case errors.Is(err, errNotSent):
		f.step("waiting", "%v", err)
		return f.again(ctx, r, time.Second)
	case err != nil:
		return Result{}, err
	}
	o := item.Operation
	f.step("sending", "%s of cluster %s, attempt %d", o.Kind, facts.Cluster.Name, o.Attempts)
	answer := f.write(ctx, r, facts, o.Sent)
	f.step(string(answer.Outcome), "%s", describe(answer))
	if item, err = f.answered(ctx, r, o.Sent, answer); err != nil {
		return Result{}, err
	}
	switch {
	case answer.Outcome != cmek.Refused:
		return f.finish(ctx, r)
	case !item.Operation.Open():
		return Result{Cluster: facts.Cluster, Operation: item.Operation}, f.deliver(ctx, item)
	}
	pause := max(min(retryMin<<min(o.Attempts-1, 8), retryMax), answer.RetryAfter)
	why := "changes of policies take minutes to spread"
	if answer.Busy {
		why = "the cluster is busy"
	}
	f.step("waiting", "%s: it is sent again in %s, until %s", why, pause, o.Since.Add(f.Settings.Propagation).UTC().Format(time.RFC3339))
	return f.again(ctx, r, pause)
}

// again decides the request anew after a pause. If ctx ends before, a request that was refused is given up: nothing is on its way.
func (f *Function) again(ctx context.Context, r Request, pause time.Duration) (Result, error) {
	select {
	case <-time.After(pause):
		return f.Run(ctx, r)
	case <-ctx.Done():
	}
	result, err := f.giveUp(ctx, r)
	return result, errors.Join(ErrInterrupted, err)
}

// giveUp ends the request if it was refused and is not sent again.
func (f *Function) giveUp(ctx context.Context, r Request) (Result, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	item, err := f.Ledger.UpdateCluster(ctx, r.ClusterID, func(item *ledger.Cluster) error {
		if o := item.Operation; !o.Open() || !o.Refused() || !sameRequest(*o, r) {
			return ledger.ErrUnchanged
		}
		abandon(item, time.Now())
		return nil
	})
	if err != nil {
		return Result{}, err
	}
	return Result{Cluster: item.Cluster, Operation: item.Operation}, f.deliver(ctx, item)
}

// abandon ends an operation that no command follows any more.
func abandon(item *ledger.Cluster, now time.Time) {
	if item.Operation.Refused() {
		end(item, ledger.OperationRefused, "refused: "+describe(*item.Operation.Answer), now)
		return
	}
	end(item, ledger.OperationLost, "no command has followed it to its end", now)
}

// begin swaps the intent in: from then on the request may have left. A request that follows one that was refused keeps the baseline of the
// first, so that a trace of any of them shows.
func (f *Function) begin(ctx context.Context, r Request, facts Facts) (*ledger.Cluster, error) {
	return f.Ledger.UpdateCluster(ctx, r.ClusterID, func(item *ledger.Cluster) error {
		now := time.Now()
		switch region := item.Sending(now); {
		case now.Sub(facts.At) > factsLast:
			return fmt.Errorf("nothing was sent: it took %s to read the facts, and they count for %s", now.Sub(facts.At).Round(time.Second), factsLast)
		case region != "":
			return fmt.Errorf("%w: a PUT to region %s is about to leave", errNotSent, region)
		case item.Operation.Excludes(now) && (!sameRequest(*item.Operation, r) || !item.Operation.Refused()):
			return fmt.Errorf("%w: another request is open", errNotSent)
		}
		next := intent(r, facts, now)
		if before := item.Operation; before.Open() {
			if sameRequest(*before, r) && before.Refused() {
				next.Since, next.Attempts, next.Baseline = before.Since, before.Attempts+1, before.Baseline
			} else {
				abandon(item, now)
			}
		}
		if item.Cluster.ID == "" {
			item.Cluster = facts.Cluster // a cluster that the ledger does not know yet, by name
		}
		item.Operation = &next
		return nil
	})
}

// intent is the operation that is about to leave, with the facts as its baseline.
func intent(r Request, facts Facts, now time.Time) ledger.Operation {
	o := ledger.Operation{
		Kind: r.Kind, By: r.By, Reason: r.Reason, Specs: r.specs(), Nodes: r.nodes(), Since: now, Sent: now, Attempts: 1,
		Baseline: &ledger.OperationBaseline{ReadAt: facts.At, Regions: facts.Cluster.Regions, CMEK: facts.CMEK, Operation: facts.Cluster.OperationStatus},
	}
	for hazard, reason := range r.Waived {
		if o.Waived == nil {
			o.Waived = map[string]string{}
		}
		o.Waived[string(hazard)] = reason
	}
	return o
}

// write sends the request, once. Ctrl-C does not reach it: a request that is cut off has an outcome that nobody knows.
func (f *Function) write(ctx context.Context, r Request, facts Facts, sent time.Time) cmek.Answer {
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), sent.Add(sendWithin))
	defer cancel()
	switch r.Kind {
	case ledger.OperationEnable:
		return f.Cloud.EnableCMEK(ctx, r.ClusterID, r.Specs)
	case ledger.OperationAddRegion:
		// A region that was added since the checks would be removed. So would one that an older read does not show, and one that it shows
		// with other nodes would be resized.
		c, err := f.Cloud.Cluster(ctx, r.ClusterID)
		if err != nil || lacks(c, facts.Cluster.Regions) {
			return cmek.Answer{Outcome: cmek.Refused, Unsent: true, Message: "the cluster does not show all regions that were checked, each with its nodes"}
		}
		return f.Cloud.AddRegions(ctx, c, r.Additions)
	case ledger.OperationRevoke:
		return f.Cloud.RevokeCMEK(ctx, r.ClusterID)
	}
	return cmek.Answer{Outcome: cmek.Refused, Unsent: true, Message: fmt.Sprintf("no request is of the kind %q", r.Kind)}
}

// lacks reports whether the cluster does not show one of the regions with its nodes.
func lacks(c cmek.Cluster, regions []cmek.Region) bool {
	return slices.ContainsFunc(regions, func(r cmek.Region) bool { return !slices.Contains(c.Regions, r) })
}

// answered notes the answer of the request that was sent at that time. It is worth more than our deadline and a single try.
func (f *Function) answered(ctx context.Context, r Request, sent time.Time, a cmek.Answer) (item *ledger.Cluster, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	for try := range 3 {
		time.Sleep(time.Duration(try) * 300 * time.Millisecond)
		item, err = f.Ledger.UpdateCluster(ctx, r.ClusterID, func(item *ledger.Cluster) error {
			o := item.Operation
			if !o.Open() || !o.Sent.Equal(sent) {
				return ledger.ErrUnchanged // another command has followed it to its end
			}
			now := time.Now()
			next := *o
			next.Answer, next.Answered = &a, now
			item.Operation = &next
			if a.Outcome == cmek.Refused && !sentAgain(next, now, f.Settings) {
				end(item, ledger.OperationRefused, "refused: "+describe(a), now)
			}
			return nil
		})
		if err == nil {
			return item, nil
		}
	}
	return nil, err
}

// sentAgain reports whether a request that was refused is sent again: changes of policies take minutes to reach a cluster, and are
// answered with 400, 401 or 403 until then (Terraform provider v1.22.0, iamPropagationTimeout); a busy cluster and a rate limit need a
// moment. A revocation, which was confirmed for this moment, waits for that moment only.
func sentAgain(o ledger.Operation, now time.Time, s Settings) bool {
	a := *o.Answer
	if o.Kind == ledger.OperationRevoke {
		return a.Busy && now.Before(o.Since.Add(time.Minute))
	}
	if !now.Before(o.Since.Add(s.Propagation)) {
		return false
	}
	return a.Busy || a.Unsent && a.HTTPStatus == 0 && o.Attempts < 3 ||
		slices.Contains([]int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden}, a.HTTPStatus)
}

func describe(a cmek.Answer) string {
	switch {
	case a.Outcome == cmek.Accepted:
		return fmt.Sprintf("HTTP status %d", a.HTTPStatus)
	case a.HTTPStatus == 0:
		return a.Message
	}
	return fmt.Sprintf("HTTP status %d: %s", a.HTTPStatus, a.Message)
}

// watch reads the cluster until the end of its operation is on record, and files the evidence. After the longest operation that is
// allowed for it returns without one, and the operation stays open.
func (f *Function) watch(ctx context.Context, r Request) (*ledger.Cluster, error) {
	id, said := r.ClusterID, ""
	for read := 0; ; read++ {
		s := f.look(ctx, id)
		why := ""
		item, err := f.Ledger.UpdateCluster(ctx, id, func(item *ledger.Cluster) error {
			if !item.Operation.Open() || !sameRequest(*item.Operation, r) {
				return ledger.ErrUnchanged
			}
			var next ledger.Operation
			next, why = follow(*item.Operation, s, time.Now(), f.Settings)
			if item.Operation = &next; !next.Ended.IsZero() {
				end(item, next.Result, next.Why, next.Ended)
			}
			return nil
		})
		if err != nil {
			if ctx.Err() != nil {
				return nil, ErrInterrupted
			}
			return nil, err
		}
		o := item.Operation
		switch {
		case o == nil || !sameRequest(*o, r):
			return nil, ErrReplaced
		case !o.Open():
			f.step(string(o.Result), "%s", o.Why)
			return item, f.deliver(ctx, item)
		}
		if why != said {
			said = why
			f.step("waiting", "%s", why)
		}
		age := time.Since(o.Sent)
		if age >= ledger.LongestOperation && o.Final.IsZero() && read > 0 {
			return item, nil
		}
		select {
		case <-time.After(min(max(f.Settings.Poll, age/20), pollMax)):
		case <-ctx.Done():
			return item, ErrInterrupted
		}
	}
}

// look reads what tells what became of a request.
func (f *Function) look(ctx context.Context, id string) sight {
	s := sight{at: time.Now()}
	if c, err := f.Cloud.Cluster(ctx, id); err == nil {
		s.cluster = &c
	}
	s.cmek = shown(f.Cloud.CMEK(ctx, id))
	return s
}

// shown is the CMEK that a read shows, which may be none; nil if it was not read.
func shown(info cmek.ClusterInfo, err error) *cmek.ClusterInfo {
	switch {
	case err == nil:
		return &info
	case errors.Is(err, cmek.ErrNotFound):
		return &cmek.ClusterInfo{}
	}
	return nil
}

// deliver archives the evidence that waits in the cluster's item. What cannot be archived stays, for the next tick of rotation. Alerts
// that wait there are rotation's to send.
func (f *Function) deliver(ctx context.Context, item *ledger.Cluster) error {
	delivered := map[string]bool{}
	var problems []error
	for _, m := range item.Messages {
		if m.Evidence == nil {
			continue
		}
		if err := f.Archive.PutIfAbsent(ctx, m.ID, m.Evidence); err != nil {
			problems = append(problems, fmt.Errorf("archive %s, which the next tick tries again: %w", m.ID, err))
			continue
		}
		delivered[m.ID] = true
	}
	if len(delivered) == 0 {
		return errors.Join(problems...)
	}
	_, err := f.Ledger.UpdateCluster(ctx, item.ID, func(item *ledger.Cluster) error {
		item.Clear(delivered)
		return nil
	})
	return errors.Join(append(problems, err)...)
}
