package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"time"

	"github.com/aws/aws-lambda-go/cfn"
)

// answerTime is kept back from the function's time for the answer: without one CloudFormation waits for an hour.
const answerTime = 20 * time.Second

// resource is the custom resource. It answers every request, and returns an error only if CloudFormation did not take the
// answer: Lambda then starts it again, twice.
type resource struct {
	check  func(ctx context.Context, asserted bool) (string, error)
	client *http.Client
	log    *slog.Logger
	pause  time.Duration
}

// handle is one request. It does not use cfn.LambdaWrap, which sends the answer without a time limit or a second try, and whose
// errors, which Lambda logs, hold the presigned URL.
func (r *resource) handle(ctx context.Context, event cfn.Event) error {
	answer := cfn.NewResponse(&event)
	// What is checked has no identity of its own. An id that changes would make CloudFormation delete the old one.
	answer.PhysicalResourceID = cmp.Or(event.PhysicalResourceID, "trailcheck-"+event.LogicalResourceID)
	answer.Status = cfn.StatusSuccess
	if event.RequestType != cfn.RequestDelete { // nothing was made, so there is nothing to delete
		text, err := r.run(ctx, event)
		if err != nil {
			answer.Status, answer.Reason = cfn.StatusFailed, err.Error()
		}
		answer.Data = map[string]any{"Answer": text}
		r.log.Info("checked", "request", event.RequestType, "stack", event.StackID, "status", answer.Status, "answer", text+answer.Reason)
	}
	return r.send(ctx, event.ResponseURL, answer)
}

// run is the check within the time that leaves some for the answer. A panic fails the check only.
func (r *resource) run(ctx context.Context, event cfn.Event) (text string, err error) {
	defer func() {
		if problem := recover(); problem != nil {
			r.log.Error("check panicked", "error", fmt.Sprint(problem), "stack", string(debug.Stack()))
			err = errors.New("trailcheck panicked; its log says where")
		}
	}()
	asserted, err := truth(event.ResourceProperties["Assert"])
	if err != nil {
		return "", err
	}
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-answerTime))
		defer cancel()
	}
	return r.check(ctx, asserted)
}

// truth reads a property that may be left out. CloudFormation hands on booleans as text.
func truth(property any) (bool, error) {
	switch property {
	case nil, false, "false":
		return false, nil
	case true, "true":
		return true, nil
	}
	return false, fmt.Errorf("property Assert is %.40q; want true or false", fmt.Sprint(property))
}

// send puts the answer to the presigned URL, three times at most. No error holds the URL, which is as good as a password.
func (r *resource) send(ctx context.Context, presigned string, answer *cfn.Response) error {
	body, err := json.Marshal(answer)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	for try := 1; ; try++ {
		err := r.put(ctx, presigned, body)
		if err == nil {
			return nil
		}
		if try == 3 || ctx.Err() != nil {
			return fmt.Errorf("answer CloudFormation: %w", err)
		}
		r.log.Warn("CloudFormation refused the response", "error", err.Error())
		select {
		case <-ctx.Done():
		case <-time.After(r.pause):
		}
	}
}

func (r *resource) put(ctx context.Context, presigned string, body []byte) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, presigned, bytes.NewReader(body))
	if err != nil {
		return withoutURL(err)
	}
	response, err := r.client.Do(request)
	if err != nil {
		return withoutURL(err)
	}
	defer func() { _ = response.Body.Close() }()
	_, _ = io.Copy(io.Discard, response.Body) // S3 quotes the signature in a refusal: the body is for nobody's eyes
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", response.StatusCode)
	}
	return nil
}

// withoutURL is the reason within an error of net/http, whose text begins with the URL.
func withoutURL(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}
